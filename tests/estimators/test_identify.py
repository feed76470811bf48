"""Which columns are adjusted for, which are not, and what stands in the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.errors import StudyFileError
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


def found(data: StudyData, edge: str) -> Identification:
    """Identify an edge among all attributes that its panel would hold."""
    parsed = Edge.parse(edge)
    table = parsed.effect.split(".", 1)[0]
    inside = [n for n in data.attributes if table == "events" or n.startswith(f"{table}.")]
    return identify(data, parsed, tuple(n for n in inside if n not in (parsed.cause, parsed.effect)))


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
    assert answer.rescuable
    assert found(data, "items.b -> events.y").open_path == ""


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


def test_m_bias_is_a_path_if_the_collider_may_be_a_confounder_too(lab: Lab) -> None:
    assert found(shop(lab, "a", "b", "m", unmeasured=M_BIAS), "items.a -> events.y").open_path


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


def test_two_hundred_attributes_are_identified_within_a_second(lab: Lab) -> None:
    names = [f"a{j}" for j in range(200)]
    chain = [f"items.a{j} -> items.a{j + 1}" for j in range(0, 198, 2)]
    hidden = ["items.quality -> items.a10, events.y"]
    data = shop(lab, *names, graph=chain, unmeasured=hidden)
    found(data, "items.a0 -> events.y")  # DoWhy takes seconds to import
    start = time.perf_counter()
    assert found(data, "items.a10 -> events.y").open_path
    assert len(found(data, "items.a20 -> events.y").adjust) == 200
    assert time.perf_counter() - start < 1
