"""Effects from instruments and through mediators, against effects that are known and effects that aren't there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge, Hypothesis
from whyrank.estimators.controls import control_outcomes
from whyrank.estimators.estimate import Estimate
from whyrank.estimators.estimating import estimate_edges
from whyrank.estimators.instrument import agreement, instrumented
from whyrank.estimators.judge import judge

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

EDGE = "items.t -> events.y"
ITEMS, ROWS, USERS = 600, 12_000, 400

IV = {
    "graph": ["items.z -> items.t"],
    "forbidden": ["items.z -> events.y"],
    "unmeasured": ["items.quality -> items.t, events.y"],
}
FRONT = {
    "graph": ["items.t -> items.m", "items.m -> events.y"],
    "forbidden": ["items.t -> events.y"],
    "unmeasured": ["items.quality -> items.t, events.y"],
}


def pick(rng: np.random.Generator, p: Any) -> Any:
    return (rng.random(len(p)) < p).astype(np.float64)


def check(estimate: Estimate, name: str) -> bool | None:
    return next(c.passed for c in estimate.checks if c.name == name)


def world(
    lab: Lab,
    *,
    effect: float = 0.5,
    pull: float = 1.0,
    leak: float = 0.0,
    binary: bool = False,
    second: float = 0.0,
    seed: int = 1,
    **options: Any,
) -> StudyData:
    """Hidden quality raises t and y; z moves t by `pull`, and y by `leak` beside; w is a measured confounder of all."""
    rng = np.random.default_rng(seed)
    quality, w = rng.normal(size=(2, ITEMS))
    z = 0.5 * w + rng.normal(size=ITEMS)
    v = rng.normal(size=ITEMS)
    score = pull * z + pull * v * (second != 0) + quality + 0.5 * w + rng.normal(size=ITEMS)
    t = (score > 0).astype(np.float64) if binary else score
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    y = effect * t + quality + 0.5 * w + leak * z + (second - 1.0) * v * (second != 0)
    y = y[item] + 0.3 * rng.normal(size=USERS)[user] + rng.normal(size=ROWS)
    columns = {"t": t, "w": w, "z": z} | ({"v": v} if second else {})
    return lab.study({"age": rng.normal(size=USERS)}, columns, {"user": user, "item": item, "y": y}, **(IV | options))


def through(
    lab: Lab,
    *,
    legs: tuple[float, float] = (0.8, 0.5),
    kind: str = "numeric",
    second: bool = False,
    seed: int = 2,
    **options: Any,
) -> StudyData:
    """Hidden quality raises t and y; t acts through m (and n) alone; w is a measured confounder of all three."""
    rng = np.random.default_rng(seed)
    quality, w = rng.normal(size=(2, ITEMS))
    score = quality + 0.5 * w + rng.normal(size=ITEMS)
    t: Any = score
    if kind == "binary":
        t = (score > 0).astype(np.float64)
    elif kind == "categorical":
        t = np.digitize(score, [-0.7, 0.7])
    m = legs[0] * t + 0.5 * w + rng.normal(size=ITEMS)
    n = -0.5 * t + rng.normal(size=ITEMS)
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    y = (legs[1] * m + quality + 0.3 * w + (0.4 * n if second else 0.0))[item] + rng.normal(size=ROWS)
    columns = {"t": [f"l{k}" for k in t] if kind == "categorical" else t, "w": w, "m": m} | ({"n": n} if second else {})
    given: dict[str, Any] = dict(FRONT)
    if second:
        given["graph"] = [*FRONT["graph"], "items.t -> items.n", "items.n -> events.y"]
    return lab.study(
        {"age": rng.normal(size=USERS)},
        columns,
        {"user": user, "item": item, "y": y},
        reference={"items.t": "l0"},
        **(given | options),
    )


@pytest.mark.parametrize("binary", [False, True])
def test_an_instrument_finds_what_adjustment_cannot(lab: Lab, binary: bool) -> None:
    truth, pull = (2.0, 2.0) if binary else (0.5, 1.0)
    (verdict,) = lab.verdicts(world(lab, binary=binary, effect=truth, pull=pull), EDGE)
    found = verdict.estimate
    assert found.estimator == "IV"
    assert abs(found.estimate - truth) <= 3 * found.se
    assert found.se < 0.25
    assert found.naive - truth > 4 * found.se
    assert verdict.verdict == "validated"
    assert any("items.t <- items.quality -> events.y" in w and "items.z" in w for w in found.warnings)
    assert check(found, "audit") is None


def test_an_instrument_finds_no_effect_where_there_is_none(lab: Lab) -> None:
    found = [lab.estimate(world(lab, effect=0.0, seed=seed), EDGE) for seed in range(4)]
    assert all(e.naive_significant for e in found)
    assert all(abs(e.estimate) <= 3 * e.se for e in found)
    assert sum(e.p_value < 0.05 for e in found) <= 1


def test_a_weak_instrument_decides_nothing(lab: Lab) -> None:
    (verdict,) = lab.verdicts(world(lab, pull=0.05, smallest_effect=9.0), EDGE)
    assert check(verdict.estimate, "instrument_strength") is False
    assert verdict.verdict == "inconclusive"
    assert any("effective F" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(("second", "agrees"), [(1.0, True), (1.8, False)])
def test_two_instruments_must_agree(lab: Lab, second: float, agrees: bool) -> None:
    """The second one acts on the outcome by itself in the second world."""
    graph = ["items.z -> items.t", "items.v -> items.t"]
    forbidden = ["items.z -> events.y", "items.v -> events.y"]
    (verdict,) = lab.verdicts(world(lab, second=second, graph=graph, forbidden=forbidden), EDGE)
    assert check(verdict.estimate, "over_identification") is agrees
    assert verdict.verdict == ("validated" if agrees else "inconclusive")
    if agrees:
        assert abs(verdict.estimate.estimate - 0.5) <= 3 * verdict.estimate.se


def test_a_suggested_instrument_is_estimated_and_never_believed(lab: Lab) -> None:
    data = world(lab, graph=[], forbidden=[])
    edge = Edge.parse(EDGE)
    assert lab.estimate(data, EDGE).blocked
    ((_, (found,)),) = estimate_edges(data, [edge], instruments={edge: ("items.z",)})
    assert abs(found.estimate - 0.5) <= 3 * found.se
    (verdict,) = judge([found], [Hypothesis(edge)], fdr=0.05, smallest_effect=0.0)
    assert verdict.verdict == "inconclusive"
    told = " ".join(verdict.reasons)
    assert 'edges = ["items.z -> items.t"], forbidden = ["items.z -> events.y"]' in told
    (verdict,) = judge([found], [Hypothesis(edge)], fdr=0.05, smallest_effect=50.0)
    assert verdict.verdict == "inconclusive"


def test_many_instruments_do_not_lead_back_to_the_association() -> None:
    """Forty weak instruments predict a cause in sample by its noise, which is tied to the outcome."""
    rng = np.random.default_rng(5)
    out_of_fold, in_sample = [], []
    n, k = 1_000, 40
    folds = (np.arange(n) % 5).astype(np.int8)
    for _ in range(30):
        Z, hidden = rng.normal(size=(n, k)), rng.normal(size=n)
        t = Z @ np.full(k, 0.06) + hidden + rng.normal(size=n)
        y = 2.0 * hidden + rng.normal(size=n)
        out_of_fold.append(instrumented(y, t, Z, folds, ways={}).estimate)
        fitted = Z @ np.linalg.lstsq(Z, t)[0]
        in_sample.append(float(fitted @ y / (fitted @ t)))
    assert np.median(in_sample) > 0.25
    assert abs(np.median(out_of_fold)) < 0.1


def test_agreement_keeps_its_level() -> None:
    rng = np.random.default_rng(6)
    p = []
    for _ in range(200):
        codes = np.repeat(np.arange(100, dtype=np.int32), 5)
        Z, hidden = rng.normal(size=(100, 3))[codes], rng.normal(size=100)[codes]
        t = Z @ np.ones(3) + hidden + rng.normal(size=500)
        p.append(agreement(Z, t, 0.5 * t + hidden + rng.normal(size=500), {"items": codes}))
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.10


@pytest.mark.parametrize(("kind", "level"), [("numeric", None), ("binary", None), ("categorical", "l2")])
def test_the_front_door(lab: Lab, kind: str, level: str | None) -> None:
    data = through(lab, kind=kind)
    found = lab.estimate(data, EDGE, level)
    truth = 0.8 * 0.5 * (2 if level else 1)
    assert found.estimator == "front-door"
    assert abs(found.estimate - truth) <= 3 * found.se
    assert found.se < 0.1
    assert found.naive - truth > 4 * found.se
    (verdict, *_) = [v for v in lab.verdicts(data, EDGE) if level in (None, v.estimate.contrast.level)]
    assert verdict.verdict == "validated"
    assert any("items.m" in w for w in found.warnings)


def test_the_front_door_through_two_mediators_that_pull_apart(lab: Lab) -> None:
    found = lab.estimate(through(lab, second=True), EDGE)
    assert abs(found.estimate - (0.8 * 0.5 - 0.5 * 0.4)) <= 3 * found.se


@pytest.mark.parametrize("legs", [(0.8, 0.0), (0.0, 0.5), (0.0, 0.0)])
def test_the_front_door_finds_nothing_where_either_leg_is_missing(lab: Lab, legs: tuple[float, float]) -> None:
    for seed in range(3):
        (verdict,) = lab.verdicts(through(lab, legs=legs, seed=seed), EDGE)
        assert verdict.verdict != "validated"
        assert abs(verdict.estimate.estimate) <= 3 * verdict.estimate.se
        assert verdict.estimate.naive_significant


def test_how_such_an_effect_varies_is_not_estimated(lab: Lab) -> None:
    assert "only the average effect" in lab.estimate(world(lab), f"{EDGE} | users.age").blocked
    assert "only the average effect" in lab.estimate(through(lab), f"{EDGE} | users.age").blocked


def test_an_instrument_cannot_tell_three_levels_apart(lab: Lab) -> None:
    rng = np.random.default_rng(3)
    t = [f"l{k}" for k in rng.integers(0, 3, 60)]
    events = {"user": rng.integers(0, 9, 900), "item": rng.integers(0, 60, 900), "y": rng.normal(size=900)}
    given: dict[str, Any] = dict(IV)
    data = lab.study({}, {"t": t, "z": rng.normal(size=60)}, events, n_users=9, **given)
    assert all("more than two levels" in e.blocked for e in lab.estimates(data, EDGE))


@pytest.mark.parametrize("hidden", ["items.worth", "taste"])
def test_random_items_rescue_what_the_policy_confounds_but_not_what_the_item_brings(lab: Lab, hidden: str) -> None:
    """Worth is the item's own: in the random exposures it's there as much as elsewhere, and would be mistaken for t."""
    rng = np.random.default_rng(4)
    worth = rng.normal(size=ITEMS)
    t = pick(rng, 1 / (1 + np.exp(-2 * worth)))
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    y = worth[item] + rng.normal(size=ROWS)
    columns = {"user": user, "item": item, "y": y, "randomised": pick(rng, np.full(ROWS, 0.3))}
    data = lab.study({}, {"t": t}, columns, n_users=USERS, unmeasured=[f"{hidden} -> items.t, events.y"])
    found = lab.estimate(data, EDGE)
    if hidden.startswith("items."):
        assert "items.t <- items.worth -> events.y" in found.blocked
        assert "brings it along" in found.blocked
    else:
        assert found.population == "randomised rows"
        assert any("takes for granted that taste decides who is shown what" in w for w in found.warnings)


def test_what_would_close_the_path_is_told(lab: Lab) -> None:
    rng = np.random.default_rng(4)
    events = {"user": rng.integers(0, 9, 900), "item": rng.integers(0, 60, 900), "y": rng.normal(size=900)}
    data = lab.study({}, {"t": rng.normal(size=60)}, events, n_users=9, unmeasured=["users.mood -> items.t, events.y"])
    assert "drawn at random would" in lab.estimate(data, EDGE).blocked


@pytest.mark.parametrize("declared", [False, True])
def test_total_effects_with_mediators_colliders_and_descendants_among_the_columns(lab: Lab, declared: bool) -> None:
    """One confounder; a mediator; a collider; M-bias; a child of the outcome. Total effect .3 + .5 · .4 = .5."""
    rng = np.random.default_rng(11)
    confounder, one, two = rng.normal(size=(3, ITEMS))
    t = 0.8 * confounder + one + rng.normal(size=ITEMS)
    mediator = 0.5 * t + rng.normal(size=ITEMS)
    m = one + two + 0.3 * rng.normal(size=ITEMS)
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    y = (0.3 * t + 0.4 * mediator + 0.8 * confounder + two)[item] + rng.normal(size=ROWS)
    collider = t[item] + y + rng.normal(size=ROWS)
    child = y + rng.normal(size=ROWS)
    structure: dict[str, Any] = {
        "graph": [
            "items.t -> items.mediator",
            "items.mediator -> events.y",
            "items.t -> events.collider",
            "events.y -> events.collider",
            "events.y -> events.child",
        ],
        "unmeasured": ["one -> items.t, items.m", "two -> items.m, events.y"],
    }
    data = lab.study(
        {},
        {"t": t, "confounder": confounder, "mediator": mediator, "m": m},
        {"user": user, "item": item, "y": y, "collider": collider, "child": child},
        n_users=USERS,
        **(structure if declared else {}),
    )
    found = lab.estimate(data, EDGE)
    if declared:
        assert found.adjusted_for == ("items.confounder", "users")
        assert abs(found.estimate - 0.5) <= 3 * found.se
        assert any("items.m" in w and "takes for granted" in w for w in found.warnings)
    else:
        assert abs(found.estimate - 0.5) > 5 * found.se


def test_an_instrument_has_no_control_in_an_outcome_of_its_cause(lab: Lab) -> None:
    """Z acts on y through t, if t does: that z may not act on y directly makes y no control of other effects of z."""
    rng = np.random.default_rng(4)
    events = {
        "user": rng.integers(0, 9, 90),
        "item": rng.integers(0, 60, 90),
        **dict(zip("yx", rng.normal(size=(2, 90)), strict=True)),
    }
    columns = {"t": rng.normal(size=60), "z": rng.normal(size=60)}
    for graph, controls in (([], ("events.y",)), (IV["graph"], ())):
        data = lab.study({}, columns, events, n_users=9, outcomes=("y", "x"), graph=graph, forbidden=IV["forbidden"])
        assert control_outcomes(data, Edge("items.z", "events.x")) == controls
