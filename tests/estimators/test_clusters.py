"""Standard errors when users and items repeat: an attribute of sixty items has sixty observations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from whyrank.estimators.clusters import cluster_sums, effective_clusters, t_interval, two_way_se
from whyrank.estimators.effects import Effect, naive_levels, naive_numeric
from whyrank.estimators.sums import clustered_error, sums_of, variance_parts

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

Codes = npt.NDArray[np.int32]


def log(rng: np.random.Generator, users: int, items: int, rows: int) -> tuple[Codes, Codes, Codes]:
    """Codes of users, of items, and of pairs of them."""
    user, item = rng.integers(0, users, rows).astype(np.int32), rng.integers(0, items, rows).astype(np.int32)
    return user, item, (user * items + item).astype(np.int32)


def p_value(effect: Effect, ways: tuple[Codes, ...], pair: Codes) -> float:
    """As the judge computes it."""
    se = two_way_se(effect.influence, ways, pair)
    rest = effect.y_residual - effect.estimate * effect.t_residual
    worth = [effective_clusters(effect.leverage, rest, codes) for codes in ways]
    return t_interval(effect.estimate, se, max(min(worth) - 1, 1) if ways else 1e6)[2]


@pytest.mark.parametrize(("items", "share"), [(60, 0.5), (30, 0.3), (150, 0.1)])
def test_a_null_attribute_of_items_is_rejected_as_often_as_promised(items: int, share: float) -> None:
    """Items differ, the attribute is dealt at random: five in a hundred, where rows taken as independent find many."""
    rng = np.random.default_rng(1)
    honest, independent = [], []
    for _ in range(300):
        user, item, pair = log(rng, 100, items, 2_000)
        has = rng.permutation(np.arange(items) < share * items)[item]
        y = 0.6 * rng.normal(size=items)[item] + 0.4 * rng.normal(size=100)[user] + rng.normal(size=2_000)
        effect = naive_levels(y, has, ~has)
        honest.append(p_value(effect, (user, item), pair) < 0.05)
        independent.append(p_value(effect, (), pair) < 0.05)
    assert 0.02 <= np.mean(honest) <= 0.09
    assert np.mean(independent) > 0.2


def test_two_ways_are_the_sum_over_pairs_of_rows_that_share_a_user_or_an_item() -> None:
    rng = np.random.default_rng(2)
    user, item, pair = log(rng, 12, 9, 200)
    psi = rng.normal(size=200) + rng.normal(size=12)[user] + rng.normal(size=9)[item]
    psi -= psi.mean()

    def brute(codes: Codes) -> float:
        groups = len(set(codes.tolist()))
        total = sum(psi[r] * psi[s] for r in range(200) for s in range(200) if codes[r] == codes[s])
        return float(total * groups / (groups - 1))

    expected = np.sqrt(brute(user) + brute(item) - brute(pair)) / 200
    assert two_way_se(psi, (user, item), pair) == pytest.approx(expected, rel=1e-12)
    assert two_way_se(psi, (item,)) == pytest.approx(np.sqrt(brute(item)) / 200, rel=1e-12)


def test_two_ways_are_never_less_than_one() -> None:
    """Opposite influence within each item: the difference of variances would be negative."""
    user, item = np.repeat(np.arange(10), 2).astype(np.int32), np.tile(np.arange(2), 10).astype(np.int32)
    psi = np.where(item == 0, 1.0, -1.0) * np.repeat(np.r_[np.ones(5), -np.ones(5)], 2)
    pair = np.arange(20, dtype=np.int32)
    one_way = max(two_way_se(psi, (user,)), two_way_se(psi, (item,)))
    assert two_way_se(psi, (user, item), pair) >= one_way


def test_independent_rows_have_the_usual_error() -> None:
    psi = np.random.default_rng(3).normal(size=500)
    psi -= psi.mean()
    assert two_way_se(psi, ()) == pytest.approx(psi.std(ddof=1) / np.sqrt(500))
    alone = np.arange(500, dtype=np.int32)
    assert two_way_se(psi, (alone, alone), alone) == pytest.approx(two_way_se(psi, ()), rel=1e-12)


def test_codes_that_never_occur_do_not_count() -> None:
    rng = np.random.default_rng(4)
    _, item, _ = log(rng, 5, 20, 300)
    psi = rng.normal(size=300)
    gaps = (3 * item + 5).astype(np.int32)
    assert two_way_se(psi, (gaps,)) == pytest.approx(two_way_se(psi, (item,)), rel=1e-12)
    assert effective_clusters(psi, psi, gaps) == pytest.approx(effective_clusters(psi, psi, item), rel=1e-12)


def test_a_single_cluster_tells_nothing() -> None:
    psi = np.random.default_rng(5).normal(size=50)
    one, alone = np.zeros(50, np.int32), np.arange(50, dtype=np.int32)
    assert np.isnan(two_way_se(psi - psi.mean(), (one,)))
    assert np.isnan(two_way_se(psi - psi.mean(), (one, alone), alone))


def test_two_ways_need_their_intersection() -> None:
    codes = np.arange(4, dtype=np.int32)
    with pytest.raises(ValueError, match="intersection"):
        two_way_se(np.ones(4), (codes, codes))


@pytest.mark.parametrize("between", [0.0, 0.7])
def test_equal_clusters_count_fully(between: float) -> None:
    rng = np.random.default_rng(6)
    item = np.repeat(np.arange(40), 50).astype(np.int32)
    residual = between * rng.normal(size=40)[item] + rng.normal(size=2_000)
    weight = np.where(item % 2 == 0, 2.0, -2.0)
    assert effective_clusters(weight, residual, item) == pytest.approx(40)


def test_few_carriers_count_as_few() -> None:
    rng = np.random.default_rng(7)
    item = np.repeat(np.arange(60), 50).astype(np.int32)
    residual = rng.normal(size=60)[item] + rng.normal(size=3_000)
    has = item < 3
    weight = np.where(has, 1 / has.mean(), -1 / (~has).mean())
    assert 2.5 <= effective_clusters(weight, residual, item) <= 4
    assert effective_clusters(np.zeros(3_000), residual, item) == 0


def test_the_interval_is_students() -> None:
    low, high, p = t_interval(1.0, 0.5, 7.0)
    half = stats.t.ppf(0.975, 7) * 0.5
    assert (low, high) == pytest.approx((1 - half, 1 + half))
    assert p == pytest.approx(2 * stats.t.sf(2.0, 7))
    assert t_interval(-1.0, 0.5, 7.0)[2] == pytest.approx(p)
    assert (p < 0.05) == (low > 0)
    assert np.isnan(t_interval(1.0, 0.0, 7.0)).all()
    assert np.isnan(t_interval(1.0, float("nan"), 7.0)).all()


def test_sums_are_by_cluster() -> None:
    codes = np.array([2, 0, 2, 3], np.int32)
    assert cluster_sums(np.array([1.0, 2.0, 3.0, 4.0]), codes).tolist() == [2, 0, 4, 4]


def test_the_scope_chooses_the_clusters(lab: Lab) -> None:
    rng = np.random.default_rng(8)
    user, item, _ = log(rng, 100, 40, 3_000)
    y = 0.8 * rng.normal(size=40)[item] + rng.normal(size=3_000)
    columns = {"a": np.arange(40) % 2.0}, {"user": user, "item": item, "y": y}
    sample = lab.estimate(lab.study({}, *columns, n_users=100), "items.a -> events.y")
    these = lab.estimate(lab.study({}, *columns, n_users=100, scope="these items"), "items.a -> events.y")
    assert (sample.clusters, these.clusters) == ("users, items", "users")
    assert sample.estimate == these.estimate
    assert sample.se > 2 * these.se
    assert sample.dof < 40 < these.dof
    assert sample.smaller_arm == 20


@pytest.mark.parametrize(
    ("items", "users", "most"), [(1.0, 0.1, "items"), (0.1, 1.0, "users"), (0.0, 0.0, "exposures")]
)
def test_where_the_error_comes_from(items: float, users: float, most: str) -> None:
    rng = np.random.default_rng(9)
    user, item, pair = log(rng, 60, 60, 3_000)
    t = rng.normal(size=60)[item] + rng.normal(size=60)[user]
    y = items * rng.normal(size=60)[item] + users * rng.normal(size=60)[user] + rng.normal(size=3_000)
    effect = naive_numeric(y, t)
    sums = sums_of(effect, {"users": user, "items": item})
    parts = variance_parts(effect, sums, clustered_error(effect, sums, pair))
    assert max(parts, key=lambda kind: parts[kind]) == most
    assert sum(parts.values()) == pytest.approx(1, abs=1e-3)
