"""Which columns are adjusted for, which are not, and what stands in the way."""

from __future__ import annotations

import time
from itertools import combinations
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pytest

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.errors import StudyFileError
from whyrank.estimators.graph import graph_for
from whyrank.estimators.identify import Identification, identify

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab


def shop(lab: Lab, *names: str, **options: Any) -> StudyData:
    """Return a study with these numeric attributes of items, a user's age and a context `position`."""
    rng = np.random.default_rng(0)
    events = {"user": rng.integers(0, 5, 50), "item": rng.integers(0, 20, 50), "y": rng.normal(size=50)}
    return lab.study(
        {"age": rng.normal(size=5)},
        {name: rng.normal(size=20) for name in names},
        events | {"position": rng.normal(size=50)},
        **options,
    )


def found(data: StudyData, edge: str, *suggested: str) -> Identification:
    """Identify an edge among all attributes that its panel would hold."""
    parsed = Edge.parse(edge)
    table = parsed.effect.split(".", 1)[0]
    inside = [n for n in data.attributes if table == "events" or n.startswith(f"{table}.")]
    candidates = tuple(n for n in inside if n not in (parsed.cause, parsed.effect))
    return identify(data, parsed, candidates, suggested=suggested)


def test_without_a_graph_everything_before_the_outcome_is_adjusted_for(lab: Lab) -> None:
    answer = found(shop(lab, "a", "b"), "items.a -> events.y")
    assert answer == Identification(("users.age", "items.b", "events.position"))


def test_declared_descendants_of_the_cause_are_left_out(lab: Lab) -> None:
    data = shop(lab, "a", "b", "c", "d", graph=["items.a -> items.b", "items.b -> items.c", "items.d -> items.b"])
    answer = found(data, "items.a -> events.y")
    assert answer.excluded == ("items.b", "items.c")
    assert answer.adjust == ("users.age", "items.d", "events.position")


def test_a_declared_collider_is_not_adjusted_for(lab: Lab) -> None:
    data = shop(lab, "a", graph=["items.a -> events.position", "events.y -> events.position"])
    answer = found(data, "items.a -> events.y")
    assert answer == Identification(("users.age",), ("events.position",))


@pytest.mark.parametrize(
    ("edge", "graph", "child"),
    [
        ("items.a -> items.b", "items.b -> items.c", "items.c"),
        ("items.a -> events.y", "events.y -> events.position", "events.position"),
    ],
)
def test_what_follows_from_the_outcome_is_not_adjusted_for(lab: Lab, edge: str, graph: str, child: str) -> None:
    answer = found(shop(lab, "a", "b", "c", graph=[graph]), edge)
    assert answer.excluded == (child,)
    assert child not in answer.adjust


def test_an_unmeasured_common_cause_opens_a_path_that_is_drawn(lab: Lab) -> None:
    data = shop(lab, "a", "b", unmeasured=["items.quality -> items.a, events.y"])
    answer = found(data, "items.a -> events.y")
    assert answer.open_path == "items.a <- items.quality -> events.y"
    assert answer.strategy == "blocked"
    assert found(data, "items.b -> events.y").open_path == ""


@pytest.mark.parametrize(
    ("hidden", "rescuable", "granted"),
    [
        ("items.quality", False, ()),  # whichever item is drawn, it brings its quality along
        ("users.taste", True, ()),
        ("events.hour", True, ()),
        ("policy", True, ("policy",)),  # if it isn't a property of the item itself
    ],
)
def test_random_items_close_paths_through_who_sees_what_and_no_others(
    lab: Lab, hidden: str, rescuable: bool, granted: tuple[str, ...]
) -> None:
    answer = found(shop(lab, "a", "b", unmeasured=[f"{hidden} -> items.a, events.y"]), "items.a -> events.y")
    assert answer.open_path == f"items.a <- {hidden} -> events.y"
    assert (answer.rescuable, answer.granted) == (rescuable, granted)


def test_random_items_do_not_make_users_random(lab: Lab) -> None:
    answer = found(shop(lab, "a", unmeasured=["thirst -> users.age, events.y"]), "users.age -> events.y")
    assert answer.open_path == "users.age <- thirst -> events.y"
    assert not answer.rescuable


def test_a_hidden_cause_of_an_outcome_is_one_of_its_total_too(lab: Lab) -> None:
    answer = found(shop(lab, "a", unmeasured=["thirst -> users.age, events.y"]), "users.age -> users.y")
    assert answer.open_path == "users.age <- thirst -> events.y -> users.y"


def test_a_longer_open_path_goes_through_what_is_unmeasured_only(lab: Lab) -> None:
    hidden = ["items.taste -> items.a, items.fame", "items.fame -> events.y"]
    data = shop(lab, "a", "b", unmeasured=hidden)
    assert found(data, "items.a -> events.y").open_path == "items.a <- items.taste -> items.fame -> events.y"


def test_a_measured_column_on_the_way_closes_the_path(lab: Lab) -> None:
    data = shop(lab, "a", "b", unmeasured=["items.quality -> items.a, items.b"])
    answer = found(data, "items.a -> events.y")
    assert answer.open_path == ""
    assert "items.b" in answer.adjust


def test_random_items_do_not_rescue_an_unmeasured_cause_of_the_context(lab: Lab) -> None:
    data = shop(lab, "a", unmeasured=["events.hour -> events.position, events.y"])
    answer = found(data, "events.position -> events.y")
    assert answer.open_path == "events.position <- events.hour -> events.y"
    assert not answer.rescuable


M_BIAS = ["items.one -> items.a, items.m", "items.two -> items.m, events.y"]


def test_a_declared_collider_of_hidden_causes_is_left_alone_and_that_is_told(lab: Lab) -> None:
    answer = found(shop(lab, "a", "b", "m", unmeasured=M_BIAS), "items.a -> events.y")
    assert answer == Identification(("users.age", "items.b", "events.position"), trusted=("items.m",))


@pytest.mark.parametrize("arrow", ["items.m -> events.y", "items.m -> items.a"])
def test_m_bias_is_a_path_if_the_collider_is_a_confounder_too(lab: Lab, arrow: str) -> None:
    answer = found(shop(lab, "a", "b", "m", unmeasured=M_BIAS, graph=[arrow]), "items.a -> events.y")
    assert answer.strategy == "blocked"
    assert answer.open_path == "items.a <- items.one -> items.m <- items.two -> events.y"
    assert answer.conditioned == "items.m"


def test_m_bias_is_avoided_by_a_minimal_separator_once_the_arrows_are_forbidden(lab: Lab) -> None:
    data = shop(lab, "a", "b", "m", unmeasured=M_BIAS, forbidden=["items.m -> items.a", "items.m -> events.y"])
    answer = found(data, "items.a -> events.y")
    assert answer.open_path == ""
    assert answer.adjust == ("users.age", "items.b")


def test_an_edge_against_the_declared_direction_is_blocked(lab: Lab) -> None:
    answer = found(shop(lab, "a", "b", graph=["items.b -> items.a"]), "items.a -> items.b")
    assert answer.open_path == "items.a <- items.b"


def test_a_cycle_is_an_error_that_names_it(lab: Lab) -> None:
    data = shop(lab, "a", "b", "c", graph=["items.a -> items.b", "items.b -> items.c", "items.c -> items.a"])
    with pytest.raises(StudyFileError, match=r"cycle: items\.(\w) -> items\.\w -> items\.\w -> items\.\1"):
        found(data, "items.a -> events.y")


FRONT = {
    "graph": ["items.a -> items.m", "items.m -> events.y"],
    "forbidden": ["items.a -> events.y"],
    "unmeasured": ["items.quality -> items.a, events.y"],
}


def test_the_front_door_is_taken_when_the_back_door_stays_open(lab: Lab) -> None:
    answer = found(shop(lab, "a", "b", "m", **FRONT), "items.a -> events.y")
    assert answer.strategy == "front-door"
    assert answer.mediators == ("items.m",)
    assert answer.adjust == ("users.age", "items.b", "events.position")
    assert answer.open_path == "items.a <- items.quality -> events.y"


def test_a_front_door_of_two_mediators_in_a_row_and_one_beside(lab: Lab) -> None:
    graph = ["items.a -> items.m", "items.m -> items.n", "items.n -> events.y", "items.a -> items.o"]
    graph.append("items.o -> events.y")
    answer = found(shop(lab, "a", "m", "n", "o", **(FRONT | {"graph": graph})), "items.a -> events.y")
    assert answer.strategy == "front-door"
    assert set(answer.mediators) == {"items.m", "items.n", "items.o"}


@pytest.mark.parametrize(
    "change",
    [
        {"forbidden": []},  # it may act directly too
        {"unmeasured": ["items.quality -> items.a, items.m, events.y"]},  # the mediator is confounded
        {"graph": ["items.a -> items.m", "items.m -> events.y", "items.a -> items.n", "items.n -> events.y"]},
    ],
)
def test_what_isnt_a_front_door(lab: Lab, change: dict[str, list[str]]) -> None:
    data = shop(lab, "a", "b", "m", **(FRONT | change))
    assert found(data, "items.a -> events.y").strategy == "blocked"


IV = {
    "graph": ["items.z -> items.a"],
    "forbidden": ["items.z -> events.y"],
    "unmeasured": ["taste -> items.a, events.y"],
}


def test_an_instrument_that_the_user_named(lab: Lab) -> None:
    answer = found(shop(lab, "a", "b", "z", **IV), "items.a -> events.y")
    assert (answer.strategy, answer.instruments, answer.confirmed) == ("instrument", ("items.z",), True)
    assert answer.adjust == ("users.age", "items.b", "events.position")


def test_two_instruments_and_one_that_shares_a_hidden_cause_with_the_outcome(lab: Lab) -> None:
    options = {
        "graph": ["items.z -> items.a", "items.v -> items.a", "items.w -> items.a"],
        "forbidden": [f"items.{name} -> events.y" for name in "zvw"],
        "unmeasured": ["taste -> items.a, events.y", "season -> items.w, events.y"],
    }
    answer = found(shop(lab, "a", "b", "z", "v", "w", **options), "items.a -> events.y")
    assert answer.instruments == ("items.z", "items.v")


@pytest.mark.parametrize(
    "change",
    [
        {"forbidden": []},
        {"graph": []},
        {"unmeasured": ["taste -> items.a, items.z, events.y"]},
        {"graph": ["items.z -> items.a", "items.z -> events.device", "events.device -> events.y"]},
    ],
)
def test_what_isnt_an_instrument(lab: Lab, change: dict[str, list[str]]) -> None:
    assert found(shop(lab, "a", "b", "z", **(IV | change)), "items.a -> events.y").strategy == "blocked"


def test_an_instrument_is_not_adjusted_for_where_the_back_door_is_closed(lab: Lab) -> None:
    answer = found(shop(lab, "a", "b", "z", **(IV | {"unmeasured": []})), "items.a -> events.y")
    assert answer == Identification(("users.age", "items.b", "events.position"))


def test_a_suggested_instrument_is_marked_as_nobodys_word(lab: Lab) -> None:
    data = shop(lab, "a", "b", "z", unmeasured=IV["unmeasured"])
    answer = found(data, "items.a -> events.y", "items.z")
    assert (answer.strategy, answer.instruments, answer.confirmed) == ("instrument", ("items.z",), False)
    declared = shop(lab, "a", "b", "z", unmeasured=IV["unmeasured"], graph=["items.z -> events.y"])
    assert found(declared, "items.a -> events.y", "items.z").strategy == "blocked"
    named = found(shop(lab, "a", "b", "z", **IV), "items.a -> events.y", "items.b")
    assert (named.instruments, named.confirmed) == (("items.z",), True)


def brute_force(graph: nx.DiGraph, cause: str, effect: str, allowed: list[str]) -> bool:
    """Whether any subset of `allowed` closes every back-door path."""
    surgery = graph.copy()
    surgery.remove_edges_from(list(graph.out_edges(cause)))
    sets = (set(c) for size in range(len(allowed) + 1) for c in combinations(allowed, size))
    return any(nx.is_d_separator(surgery, cause, effect, s) for s in sets)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_found_agrees_with_trying_every_set(lab: Lab, seed: int) -> None:
    """Random declared structure over five columns and three hidden causes, some arrows ruled out."""
    rng = np.random.default_rng(seed)
    names = [f"items.{c}" for c in "abcde"]
    order = [*rng.permutation(names), "events.y"]
    pairs = [(u, v) for i, u in enumerate(order) for v in order[i + 1 :]]
    fate = rng.choice(["declared", "forbidden", "open"], len(pairs), p=[0.25, 0.45, 0.3])
    data = shop(
        lab,
        *"abcde",
        graph=[f"{u} -> {v}" for (u, v), f in zip(pairs, fate, strict=True) if f == "declared"],
        forbidden=[f"{u} -> {v}" for (u, v), f in zip(pairs, fate, strict=True) if f == "forbidden"],
        unmeasured=[f"h{k} -> {', '.join(rng.choice(order, 2, replace=False))}" for k in range(3)],
    )
    for cause in names:
        answer = found(data, f"{cause} -> events.y")
        if answer.trusted:
            continue
        candidates = tuple(n for n in data.attributes if n != cause)
        graph = graph_for(data, Edge(cause, "events.y"), candidates)
        before = [n for n in candidates if n not in answer.excluded and n in graph]
        assert (answer.strategy == "back-door") == brute_force(graph, cause, "events.y", before)
        if answer.strategy == "back-door":
            assert brute_force(graph, cause, "events.y", []) or set(answer.adjust) <= set(candidates)
            surgery = graph.copy()
            surgery.remove_edges_from(list(graph.out_edges(cause)))
            assert nx.is_d_separator(surgery, cause, "events.y", set(answer.adjust) & set(graph))


DENSE = [f"items.a{i} -> items.a{j}" for i in range(200) for j in range(i + 1, min(200, i + 40))]


@pytest.mark.parametrize(
    ("graph", "edge"),
    [
        ([f"items.a{j} -> items.a{j + 1}" for j in range(0, 198, 2)], "items.a10 -> events.y"),
        (DENSE, "items.a100 -> events.y"),
        ([*DENSE, *(f"items.a{j} -> events.y" for j in range(101, 200))], "items.a100 -> events.y"),
    ],
)
@pytest.mark.parametrize("forbidden", [False, True])
def test_two_hundred_attributes_are_identified_within_a_second(
    lab: Lab, graph: list[str], edge: str, forbidden: bool
) -> None:
    """With a hidden cause every strategy is searched in vain; without, all columns will do."""
    names = [f"a{j}" for j in range(200)]
    found(shop(lab, "a", "b"), "items.a -> events.y")  # DoWhy takes seconds to import
    hidden = [f"items.quality -> {edge.split(' ')[0]}, events.y", "items.fame -> items.a100, items.a150, items.a99"]
    ruled_out = [edge, *(f"items.a{j} -> events.y" for j in range(100))] if forbidden else []
    data = shop(lab, *names, graph=graph, unmeasured=hidden, forbidden=ruled_out)
    clear = shop(lab, *names, graph=graph)
    start = time.process_time()
    assert found(data, edge).open_path
    between = time.process_time()
    assert found(clear, edge).strategy == "back-door"
    assert between - start < 1.5
    assert time.process_time() - between < 0.5
