"""Data as they come: no exception, no warning of NumPy, and never more said than is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from whyrank.datasets.study_data import StudyData
from whyrank.estimators.estimate import Estimate

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

USERS, ITEMS, ROWS = 100, 60, 3_000


def shop(lab: Lab, *, users: Any = None, items: Any = None, events: Any = None, **options: Any) -> StudyData:
    """A shop in which nothing has an effect."""
    rng = np.random.default_rng(1)
    base = {
        "user": rng.integers(0, USERS, ROWS),
        "item": rng.integers(0, ITEMS, ROWS),
        "y": rng.normal(size=ROWS),
    }
    return lab.study(
        {"age": rng.normal(40, 10, USERS)} | (users or {}),
        {"a": (rng.random(ITEMS) < 0.5).astype(np.float64), "b": rng.normal(size=ITEMS)} | (items or {}),
        base | (events or {}),
        **options,
    )


def rarely(size: int, ones: int = 1) -> Any:
    return (np.arange(size) < ones).astype(np.float64)


def known(size: int, *values: float) -> Any:
    return np.r_[np.array(values, np.float64), np.full(size - len(values), np.nan)]


def blocked(found: Estimate, why: str) -> bool:
    return why in found.blocked and np.isnan(found.estimate) and np.isnan(found.p_value) and found.checks == ()


@pytest.mark.parametrize(
    "column", [np.full(ITEMS, 3.0), np.ones(ITEMS), np.full(ITEMS, np.nan), 1e9 + rarely(ITEMS) / 1e6]
)
def test_a_cause_that_does_not_vary(lab: Lab, column: Any) -> None:
    data = shop(lab, items={"k": column})
    assert blocked(lab.estimate(data, "items.k -> events.y"), "items.k does not vary")
    assert blocked(lab.estimate(data, "items.a -> events.y | items.k"), "items.k does not vary")


def test_a_cause_that_is_missing_almost_everywhere(lab: Lab) -> None:
    data = shop(
        lab, items={"n": known(ITEMS, 1, 2, 3.5), "b01": known(ITEMS, 1, 0, 1), "c": ["p", "q", "r"] + [None] * 57}
    )
    numeric = lab.estimate(data, "items.n -> events.y")
    assert numeric.smaller_arm == 3
    assert lab.verdicts(data, "items.n -> events.y")[0].verdict == "inconclusive"
    assert lab.estimate(data, "items.b01 -> events.y").blocked
    levels = lab.estimates(data, "items.c -> events.y", "items.a -> events.y | items.c")
    assert [e.contrast.label for e in levels if not e.blocked] == []
    assert len(levels) == 2  # an edge that was asked about gets an answer


@pytest.mark.parametrize("table", ["users", "items", "events"])
def test_an_arm_of_one(lab: Lab, table: str) -> None:
    size = {"users": USERS, "items": ITEMS, "events": ROWS}[table]
    data = shop(lab, **{table: {"k": rarely(size)}})
    (verdict,) = lab.verdicts(data, f"{table}.k -> events.y")
    assert verdict.verdict in ("unidentifiable", "inconclusive")
    (modified,) = lab.verdicts(data, f"items.b -> events.y | {table}.k")
    assert modified.verdict in ("unidentifiable", "inconclusive")


def test_a_thousand_levels_are_pooled_and_that_is_said(lab: Lab) -> None:
    rng = np.random.default_rng(2)
    data = shop(lab, events={"k": [f"l{j:03d}" for j in (rng.pareto(1.0, ROWS) * 20).astype(int) % 1_000]})
    found = lab.estimates(data, "events.k -> events.y")
    assert len(found) == 50
    assert all("rare levels of events.k are pooled" in e.warnings[0] for e in found)
    adjusted = lab.estimate(data, "items.a -> events.y")
    assert abs(adjusted.estimate) <= 3 * adjusted.se


def test_levels_that_are_all_rare(lab: Lab) -> None:
    data = shop(lab, users={"k": [f"l{j:02d}" for j in range(USERS)]})
    (found,) = lab.estimates(data, "users.k -> events.y")
    assert blocked(found, "users.k")
    (modified,) = lab.estimates(data, "items.a -> events.y | users.k")
    assert blocked(modified, "users.k")


def test_a_cause_alone_in_its_study(lab: Lab) -> None:
    rng = np.random.default_rng(9)
    events = {"user": rng.integers(0, USERS, ROWS), "item": rng.integers(0, ITEMS, ROWS), "y": rng.normal(size=ROWS)}
    numeric = lab.study({}, {"b": rng.normal(size=ITEMS)}, events, n_users=USERS)
    binary = lab.study({"k": np.arange(USERS) % 2.0}, {}, events, n_items=ITEMS)
    for found in (lab.estimate(numeric, "items.b -> events.y"), lab.estimate(binary, "users.k -> events.y")):
        assert abs(found.estimate) <= 3 * found.se
        assert found.checks[0].statistic > 0.9


@pytest.mark.parametrize("items", [60, 400])
@pytest.mark.parametrize("kind", ["numeric", "binary", "categorical"])
def test_a_cause_that_the_adjustment_columns_determine(lab: Lab, items: int, kind: str) -> None:
    rng = np.random.default_rng(3)
    x, level = rng.normal(size=items), rng.integers(0, 3, items)
    kinds: dict[str, dict[str, Any]] = {
        "numeric": {"k": x, "same": 3 - 2 * x},
        "binary": {"k": (x > 0).astype(np.float64), "same": (x <= 0).astype(np.float64)},
        "categorical": {"k": ["pqr"[j] for j in level], "same": ["stu"[j] for j in level]},
    }
    events: dict[str, Any] = {"user": rng.integers(0, 100, 6_000), "item": rng.integers(0, items, 6_000)}
    events["y"] = x[events["item"]] + level[events["item"]] + rng.normal(size=6_000)
    data = lab.study({}, kinds[kind] | {"other": rng.normal(size=items)}, events, n_users=100)
    for found in lab.estimates(data, "items.k -> events.y"):
        assert "determine the cause" in found.blocked


def test_a_small_panel(lab: Lab) -> None:
    rng = np.random.default_rng(4)
    events = {"user": rng.integers(0, 10, 30), "item": rng.integers(0, 8, 30), "y": rng.normal(size=30)}
    data = lab.study(
        {"age": rng.normal(size=10)},
        {"a": (rng.random(8) < 0.5).astype(np.float64)},
        events | {"top": rng.normal(size=30)},
    )
    causes = ["items.a -> events.y", "users.age -> events.y", "events.top -> events.y", "users.age -> users.y"]
    verdicts = lab.verdicts(data, *causes, "items.a -> events.y | users.age")
    assert len(verdicts) == 5
    assert {v.verdict for v in verdicts} <= {"inconclusive", "unidentifiable"}


@pytest.mark.parametrize("scope", ["items like these", "these items"])
@pytest.mark.parametrize(("users", "items"), [(1, 60), (60, 1), (1, 1), (2, 60)])
def test_one_user_or_one_item(lab: Lab, scope: str, users: int, items: int) -> None:
    rng = np.random.default_rng(5)
    rows = 1_200
    top = rng.normal(size=rows)
    item = rng.integers(0, items, rows)
    data = lab.study(
        {"age": rng.normal(size=users)},
        {"a": np.arange(items) % 2.0},
        {"user": rng.integers(0, users, rows), "item": item, "y": top + item % 2 + rng.normal(size=rows), "top": top},
        scope=scope,
    )
    edges = ["items.a -> events.y", "users.age -> events.y", "events.top -> events.y"]
    verdicts = {v.estimate.contrast.label: v for v in lab.verdicts(data, *edges)}
    if users == 1 or (items == 1 and scope == "items like these"):
        assert verdicts["events.top -> events.y"].verdict == "inconclusive"
    if users == 1:
        assert verdicts["items.a -> events.y"].verdict == ("inconclusive" if items > 1 else "unidentifiable")
        assert "users.age does not vary" in verdicts["users.age -> events.y"].reasons[0]
    for verdict in verdicts.values():
        assert verdict.estimate.blocked or not verdict.estimate.se < 1e-6
        assert verdict.verdict != "validated" or users > 1
        assert "nan" not in " ".join(verdict.reasons)


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_outcomes_that_are_missing(lab: Lab, kept: int) -> None:
    y = np.full(ROWS, np.nan)
    y[:kept] = np.arange(kept)
    data = shop(lab, events={"y": y})
    for found in lab.estimates(data, "items.a -> events.y", "users.age -> events.y", "items.b -> events.y | users.age"):
        assert found.n == kept
        assert found.blocked or found.dof < 5


def test_some_outcomes_missing(lab: Lab) -> None:
    rng = np.random.default_rng(6)
    y = np.where(rng.random(ROWS) < 0.3, np.nan, rng.normal(size=ROWS))
    found = lab.estimate(shop(lab, events={"y": y}), "items.a -> events.y")
    assert found.n == np.isfinite(y).sum()
    assert abs(found.estimate) <= 3 * found.se


def test_an_outcome_that_does_not_vary(lab: Lab) -> None:
    data = shop(lab, events={"y": np.ones(ROWS)})
    for edge in (
        "items.a -> events.y",
        "items.b -> events.y",
        "items.a -> events.y | users.age",
        "users.age -> events.y",
    ):
        assert blocked(lab.estimate(data, edge), "events.y does not vary")


def test_heavy_tails(lab: Lab) -> None:
    rng = np.random.default_rng(7)
    data = shop(lab, events={"y": 1e6 * rng.standard_cauchy(ROWS)}, items={"k": 1e12 * rng.standard_cauchy(ITEMS)})
    verdicts = lab.verdicts(
        data, "items.a -> events.y", "items.b -> events.y", "items.k -> events.y", "users.age -> events.y"
    )
    assert {v.verdict for v in verdicts} == {"inconclusive"}
    assert all(np.isfinite(v.estimate.se) for v in verdicts)


def test_attributes_known_only_of_what_was_never_shown(lab: Lab) -> None:
    never = 10
    columns = {
        "a": (np.arange(ITEMS + never) % 2).astype(np.float64),
        "n": np.r_[np.full(ITEMS, np.nan), np.arange(never)],
        "b01": np.r_[np.full(ITEMS, np.nan), np.arange(never) % 2],
        "c": [None] * ITEMS + ["p", "q"] * (never // 2),
        "s": [None] * ITEMS + [("p",), ("p", "q")] * (never // 2),
    }
    rng = np.random.default_rng(8)
    events = {"user": rng.integers(0, USERS, ROWS), "item": rng.integers(0, ITEMS, ROWS), "y": rng.normal(size=ROWS)}
    data = lab.study({}, columns, events, n_users=USERS)
    for name in ("n", "b01", "c", "s"):
        for edge in (f"items.{name} -> events.y", f"items.a -> events.y | items.{name}"):
            found = lab.estimates(data, edge)
            assert found
            assert all(e.blocked for e in found), edge


def test_profiles_are_not_repeated_measures_of_one_person(lab: Lab) -> None:
    found = lab.estimate(shop(lab, unit="profile"), "items.a -> events.y")
    assert found.clusters == "items"
    assert lab.estimate(shop(lab, unit="profile", scope="these items"), "items.a -> events.y").clusters == "rows"
