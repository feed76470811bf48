"""Wild cluster bootstrap: as often wrong as promised with few and unequal clusters, and Student's t with many."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from whyrank.estimators.bootstrap import (
    FEW_CLUSTERS,
    Inference,
    infer,
    random_signs,
    t_quantile,
    two_sided,
    wild_bootstrap,
)
from whyrank.estimators.clusters import two_way_se
from whyrank.estimators.effects import Effect, naive_numeric, partialling_out
from whyrank.estimators.sums import clustered_error, sums_of

Codes = npt.NDArray[np.int32]
SIGNS = random_signs(7)


def codes(rng: np.random.Generator, groups: int, rows: int, zipf: float = 0.0) -> Codes:
    share = 1 / np.arange(1, groups + 1) ** zipf
    return rng.choice(groups, rows, p=share / share.sum()).astype(np.int32)


def effect_of(y: Any, t: Any, item: Codes, folds: Codes) -> Effect:
    """Partialling-out with the mean of the other folds' items as the prediction of either."""
    off = []
    for values in (y, t):
        sums, counts = np.bincount(folds[item], weights=values), np.bincount(folds[item])
        off.append(values - ((sums.sum() - sums) / (counts.sum() - counts))[folds[item]])
    return partialling_out(off[0], off[1], float(t.var()))


def told(effect: Effect, user: Codes, item: Codes) -> tuple[Inference, Inference]:
    """What the judge says, and Student's t with one less than the number of items."""
    ways = sums_of(effect, {"users": user, "items": item})
    pair = np.unique(user.astype(np.int64) * 10_000 + item, return_inverse=True)[1].astype(np.int32)
    se = clustered_error(effect, ways, pair)
    assert se == pytest.approx(two_way_se(effect.influence, (user, item), pair), rel=1e-12)
    dof = ways["items"].groups - 1.0
    half = t_quantile(dof) * se
    usual = Inference(
        se, effect.estimate - half, effect.estimate + half, two_sided(effect.estimate / se, dof), dof, "t", 0
    )
    return infer(effect.estimate, se, ways, rows=effect.ess, signs=SIGNS), usual


@pytest.mark.parametrize(
    ("items", "zipf", "carriers", "size"),
    [(60, 0.0, 30, 0.0), (60, 0.0, 10, 0.8), (60, 1.0, 12, 0.0), (60, 1.0, 0, 0.4), (25, 0.5, 0, 0.0)],
)
def test_intervals_hold_the_truth_as_often_as_promised(items: int, zipf: float, carriers: int, size: float) -> None:
    """Items differ; the attribute is numeric (0 carriers) or carried by a few; some items are shown far more often."""
    rng = np.random.default_rng(1)
    user, item = codes(rng, 200, 4_000), codes(rng, items, 4_000, zipf)
    covered, usual, agree = [], [], []
    folds = rng.permutation(np.arange(items) % 5).astype(np.int32)
    for _ in range(300):
        t = rng.permutation(np.arange(items) < carriers).astype(float) if carriers else rng.normal(size=items)
        y = size * t[item] + 0.6 * rng.normal(size=items)[item] + 0.4 * rng.normal(size=200)[user]
        found, plain = told(effect_of(y + rng.normal(size=4_000), t[item], item, folds), user, item)
        assert found.method == "wild bootstrap"
        covered.append(found.low <= size <= found.high)
        usual.append(plain.low <= size <= plain.high)
        agree.append((found.p < 0.05) == (not found.low <= 0 <= found.high))
    assert 0.92 <= np.mean(covered) <= 0.985
    assert np.mean(agree) >= 0.99
    if zipf == 1.0:
        assert np.mean(usual) < 0.91  # one in ten and more missed by Student's t with 59 degrees of freedom


def test_many_clusters_need_no_bootstrap_and_would_get_the_same() -> None:
    rng = np.random.default_rng(2)
    user = codes(rng, 600, 6_000)
    t = rng.normal(size=600)[user]
    effect = naive_numeric(0.05 * t + 0.3 * rng.normal(size=600)[user] + rng.normal(size=6_000), t)
    ways = sums_of(effect, {"users": user})
    se = clustered_error(effect, ways)
    found = infer(effect.estimate, se, ways, rows=0, signs=SIGNS)
    assert found.method == "t"
    assert found.clusters > FEW_CLUSTERS
    wild = wild_bootstrap(effect.estimate, se, ways["users"], signs=SIGNS)
    assert wild.low == pytest.approx(found.low, abs=0.12 * se)
    assert wild.high == pytest.approx(found.high, abs=0.12 * se)
    assert np.log10(wild.p) == pytest.approx(np.log10(found.p), abs=0.15)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 10_000), st.booleans())
def test_units_order_and_labels_do_not_matter(unit: float, seed: int, swap: bool) -> None:
    rng = np.random.default_rng(seed)
    item = codes(rng, 40, 800, 0.7)
    t = rng.normal(size=40)[item]
    y = rng.normal(size=40)[item] + rng.normal(size=800)
    order, label = rng.permutation(800), rng.permutation(40).astype(np.int32)

    def wild(effect: Effect, items: Codes) -> Inference:
        ways = sums_of(effect, {"items": items})
        return infer(effect.estimate, clustered_error(effect, ways), ways, rows=0, signs=SIGNS)

    plain = wild(naive_numeric(y, t), item)
    sign = -1.0 if swap else 1.0
    other = wild(naive_numeric(y[order], sign * unit * t[order]), label[item][order])
    assert other.p == pytest.approx(plain.p, rel=1e-3)
    ends = sorted([other.low * unit * sign, other.high * unit * sign])
    assert ends == pytest.approx([plain.low, plain.high], rel=1e-2, abs=1e-3 * plain.se)


def test_p_values_are_not_bounded_by_the_number_of_draws() -> None:
    rng = np.random.default_rng(3)
    item = codes(rng, 60, 3_000)
    t = rng.normal(size=60)[item]
    effect = naive_numeric(2.0 * t + 0.5 * rng.normal(size=60)[item] + rng.normal(size=3_000), t)
    found = infer(effect.estimate, 0.07, sums_of(effect, {"items": item}), rows=0, signs=SIGNS)
    assert 0 < found.p < 1e-6


@pytest.mark.parametrize(("se", "estimate"), [(float("nan"), 0.1), (0.0, 0.1), (0.1, float("nan"))])
def test_nothing_to_tell(se: float, estimate: float) -> None:
    found = infer(estimate, se, {}, rows=50, signs=SIGNS)
    assert np.isnan([found.low, found.high, found.p]).all()


def test_independent_rows_have_students_t() -> None:
    found = infer(1.0, 0.5, {}, rows=8.0, signs=SIGNS)
    assert (found.low, found.high) == pytest.approx((1 - stats.t.ppf(0.975, 7) * 0.5, 1 + stats.t.ppf(0.975, 7) * 0.5))
    assert found.p == pytest.approx(2 * stats.t.sf(2, 7))


def test_a_hundred_thousand_rows_take_milliseconds() -> None:
    rng = np.random.default_rng(4)
    item, user = codes(rng, 300, 120_000, 0.5), codes(rng, 3_000, 120_000)
    effect: Any = naive_numeric(rng.normal(size=120_000), rng.normal(size=300)[item])
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        infer(effect.estimate, 0.01, sums_of(effect, {"users": user, "items": item}), rows=0, signs=SIGNS)
        best = min(best, time.perf_counter() - start)
    assert best < 0.1
