"""What must not change the numbers, and what must change them in a known way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from whyrank.datasets import load_study
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.world import small_world, write_world
from whyrank.edge import Edge
from whyrank.estimators.estimating import estimate_edges

if TYPE_CHECKING:
    from pathlib import Path

    from tests.estimators.conftest import Lab

USERS, ITEMS, ROWS = 150, 80, 4_000
EDGES = [
    "items.a -> events.y",
    "items.price -> events.y",
    "items.brand -> events.y",
    "users.age -> events.y",
    "events.top -> events.y",
    "items.a -> events.y | users.age",
]


def columns(seed: int = 1) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    price, age = rng.normal(size=ITEMS), rng.normal(size=USERS)
    a = (rng.random(ITEMS) < 1 / (1 + np.exp(-price))).astype(np.float64)
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    top = (rng.random(ROWS) < 1 / (1 + np.exp(-age[user]))).astype(np.float64)
    y = 0.3 * a[item] - 0.2 * price[item] + 0.2 * age[user] + 0.3 * top + 0.2 * rng.normal(size=ITEMS)[item]
    return {
        "users": {"age": age},
        "items": {"a": a, "price": price, "brand": list(rng.choice(["p", "q", "r"], ITEMS))},
        "events": {"user": user, "item": item, "y": y + rng.normal(size=ROWS), "top": top},
    }


def study(lab: Lab, changes: dict[str, dict[str, Any]] | None = None, **options: Any) -> StudyData:
    made = columns()
    for table, new in (changes or {}).items():
        made[table] = made[table] | new
    return lab.study(made["users"], made["items"], made["events"], **options)


@pytest.fixture(scope="module")
def base(lab: Lab) -> dict[str, Any]:
    return {e.contrast.label: e for e in lab.estimates(study(lab), *EDGES)}


def test_twice_the_same(lab: Lab, base: dict[str, Any]) -> None:
    again = {e.contrast.label: e for e in lab.estimates(study(lab), *EDGES)}
    assert repr(again) == repr(base)
    other = lab.estimate(study(lab, seed=8), EDGES[0])
    assert other.estimate != base[EDGES[0]].estimate
    assert abs(other.estimate - base[EDGES[0]].estimate) < other.se


@pytest.mark.parametrize("edge", EDGES)
def test_an_edge_does_not_depend_on_the_others(lab: Lab, base: dict[str, Any], edge: str) -> None:
    alone = lab.estimates(study(lab), edge)
    assert repr(alone) == repr([base[e.contrast.label] for e in alone])


def test_edges_come_once_and_in_their_own_order(lab: Lab) -> None:
    edges = [Edge.parse(edge) for edge in EDGES]
    one = [edge for edge, _ in estimate_edges(study(lab), [*edges, *edges])]
    two = [edge for edge, _ in estimate_edges(study(lab), edges[::-1])]
    assert one == two
    assert sorted(map(str, one)) == sorted(EDGES)


def test_the_order_of_rows_in_the_files(tmp_path: Path) -> None:
    world = small_world()
    found = []
    for name in ("one", "two"):
        write_world(world, tmp_path / name)
        if name == "two":
            for table in ("users", "items", "events"):
                path = next((tmp_path / name).glob(f"{table}.*"))
                frame = pd.read_csv(path, dtype=str, keep_default_na=False)
                frame.sample(frac=1, random_state=3).to_csv(path, index=False)
        data = load_study(tmp_path / name)
        causes = [n for n, a in data.attributes.items() if a.role == "any" and a.kind == "binary"][:3]
        edges = [Edge(name, outcome) for outcome in data.outcomes for name in causes]
        found.append(repr([e for _, estimates in estimate_edges(data, edges) for e in estimates]))
    assert "Estimate" in found[0]
    assert found[0] == found[1]


def test_new_names_for_users_and_items(lab: Lab, base: dict[str, Any]) -> None:
    """Folds are dealt by position, so the numbers move, but within their own error."""
    made, rng = columns(), np.random.default_rng(2)
    users, items = rng.permutation(USERS), rng.permutation(ITEMS)
    old_users, old_items = np.argsort(users), np.argsort(items)
    made["users"] = {"age": made["users"]["age"][old_users]}
    made["items"] = {name: np.asarray(v)[old_items] for name, v in made["items"].items()}
    made["items"]["brand"] = list(made["items"]["brand"])
    made["events"] |= {"user": users[made["events"]["user"]], "item": items[made["events"]["item"]]}
    for found in lab.estimates(lab.study(made["users"], made["items"], made["events"]), *EDGES):
        before = base[found.contrast.label]
        assert found.naive == pytest.approx(before.naive, rel=1e-9)
        assert found.estimate == pytest.approx(before.estimate, abs=before.se)
        assert found.se == pytest.approx(before.se, rel=0.25)


def test_an_adjustment_column_twice(lab: Lab, base: dict[str, Any]) -> None:
    price = columns()["items"]["price"]
    data = study(lab, {"items": {"again": 2 * price + 1, "also": -price}})
    for edge in (EDGES[0], EDGES[3], EDGES[4]):
        assert lab.estimate(data, edge).estimate == pytest.approx(base[edge].estimate, abs=0.1 * base[edge].se)


def test_the_unit_of_a_numeric_cause(lab: Lab, base: dict[str, Any]) -> None:
    price = columns()["items"]["price"]
    cents, before = lab.estimate(study(lab, {"items": {"price": 100 * price + 5_000}}), EDGES[1]), base[EDGES[1]]
    assert 100 * cents.estimate == pytest.approx(before.estimate, rel=1e-5)
    assert 100 * cents.se == pytest.approx(before.se, rel=1e-5)
    assert 100 * cents.naive == pytest.approx(before.naive, rel=1e-5)
    assert cents.p_value == pytest.approx(before.p_value, rel=1e-4)
    assert cents.robustness_value == pytest.approx(before.robustness_value, rel=1e-4)
    assert [c.passed for c in cents.checks] == [c.passed for c in before.checks]


def test_the_unit_of_the_outcome(lab: Lab, base: dict[str, Any]) -> None:
    y = columns()["events"]["y"]
    for found in lab.estimates(study(lab, {"events": {"y": 1_000 * y - 7}}), *EDGES):
        before = base[found.contrast.label]
        assert found.estimate / 1_000 == pytest.approx(before.estimate, rel=1e-4, abs=1e-3 * before.se)
        assert found.se / 1_000 == pytest.approx(before.se, rel=1e-3)
        assert [c.passed for c in found.checks] == [c.passed for c in before.checks]


def test_the_reference_and_the_level_change_places(lab: Lab, base: dict[str, Any]) -> None:
    turned = lab.estimate(study(lab, {"items": {"a": 1 - columns()["items"]["a"]}}), EDGES[0])
    before = base[EDGES[0]]
    assert turned.estimate == pytest.approx(-before.estimate, rel=1e-3)
    assert turned.se == pytest.approx(before.se, rel=1e-3)
    assert turned.naive == pytest.approx(-before.naive)
    assert turned.smaller_arm == before.smaller_arm
    brands = {ref: study(lab, reference={"items.brand": ref}) for ref in ("p", "q")}
    one = lab.estimate(brands["p"], "items.brand -> events.y", "q")
    other = lab.estimate(brands["q"], "items.brand -> events.y", "p")
    assert one.estimate == pytest.approx(-other.estimate, abs=0.1 * one.se)


def test_nothing_is_changed_that_was_given(lab: Lab) -> None:
    data = study(lab)
    before = [frame.copy(deep=True) for frame in (data.users, data.items, data.events)]
    lab.estimates(data, *EDGES)
    for frame, now in zip(before, (data.users, data.items, data.events), strict=True):
        pd.testing.assert_frame_equal(frame, now)
