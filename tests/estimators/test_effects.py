"""Effects from nuisances that are known: averages over everyone, and over those for whom either level was possible."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from whyrank.estimators.clusters import two_way_se
from whyrank.estimators.effects import Effect, aipw, modified

Floats = npt.NDArray[np.float64]
ROWS = 4_000


def drawn(seed: int, *, steep: float, start: float = 0.0, right: float = 1.0) -> tuple[Effect, Floats, Floats, Floats]:
    """Return the effect, x, its propensity and its true effects, 1 + x; `right` of the outcome model is known."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=ROWS)
    e = 1 / (1 + np.exp(-start - steep * x))
    t = rng.random(ROWS) < e
    tau = 1 + x
    y = 2 * x + tau * t + rng.normal(size=ROWS)
    return aipw(y, t, ~t, e, 1 - e, right * (2 * x + tau), right * 2 * x), x, e, tau


@pytest.mark.parametrize("right", [1.0, 0.5])
@pytest.mark.parametrize(
    ("steep", "start", "population", "estimator"),
    [
        (0.5, 0.0, "all rows", "AIPW"),
        (4.0, 0.0, "overlap", "overlap weights"),
        (2.0, -6.0, "overlap", "overlap weights"),
    ],
)
def test_the_population_is_the_one_that_is_named(
    steep: float, start: float, right: float, population: str, estimator: str
) -> None:
    z = []
    for seed in range(60):
        effect, _, e, tau = drawn(seed, steep=steep, start=start, right=right)
        weight = np.ones(ROWS) if population == "all rows" else e * (1 - e)
        z.append((effect.estimate - np.average(tau, weights=weight)) / two_way_se(effect.influence, ()))
        assert (effect.population, effect.estimator) == (population, estimator)
    assert abs(np.mean(z)) < 3 / np.sqrt(60)
    assert 0.7 < np.std(z) < 1.25


def test_where_one_level_is_rare_the_overlap_is_those_that_have_it() -> None:
    effect, _, e, tau = drawn(1, steep=2.0, start=-6.0)
    treated, overlap = np.average(tau, weights=e), np.average(tau, weights=e * (1 - e))
    assert abs(overlap - treated) < 0.25 * abs(treated - tau.mean())
    assert abs(effect.estimate - treated) <= 3 * two_way_se(effect.influence, ())
    assert effect.overlap < 0.6


def test_rows_that_are_known_to_be_out_of_reach_have_no_say() -> None:
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=ROWS), rng.random(ROWS) < 0.5
    never = x > 1
    t &= ~never
    y = x + 0.5 * t + 100 * never + rng.normal(size=ROWS)
    e = np.where(never, 0.0, 0.5)
    effect = aipw(y, t, ~t, e, np.where(never, 0.0, 0.5), x + 0.5, x)
    assert effect.population == "overlap"
    assert abs(effect.estimate - 0.5) < 0.2
    assert not effect.influence[never].any()
    none = aipw(y, t, ~t, np.zeros(ROWS), np.ones(ROWS), x, x)
    assert none.blocked == "no overlap"


@pytest.mark.parametrize("steep", [0.5, 4.0])
def test_how_it_varies_in_either_population(steep: float) -> None:
    effect, x, e, tau = drawn(5, steep=steep)
    slope = modified(effect, x, numeric=True)
    assert abs(slope.estimate - 1) <= 3 * two_way_se(slope.influence, ())
    high = (x > 0).astype(np.float64)
    weight = np.ones(ROWS) if effect.population == "all rows" else e * (1 - e)
    truth = np.average(tau, weights=weight * high) - np.average(tau, weights=weight * (1 - high))
    split = modified(effect, high, numeric=False)
    assert abs(split.estimate - truth) <= 3 * two_way_se(split.influence, ())


def test_one_row_against_all_odds_does_not_outweigh_the_others() -> None:
    rng = np.random.default_rng(6)
    e = np.full(ROWS, 0.5)
    e[0] = 1e-4
    t = rng.random(ROWS) < e
    t[0] = True
    y = 0.5 * t + rng.normal(size=ROWS)
    fair = aipw(y, t, ~t, e, 1 - e, np.full(ROWS, 0.5), np.zeros(ROWS))
    mu = np.where(np.arange(ROWS) == 0, 40.0, 0.0)  # a prediction that ran away, where there was nothing to learn from
    odd = aipw(y, t, ~t, e, 1 - e, mu + 0.5, mu)
    assert odd.population == "all rows"
    assert odd.estimate == pytest.approx(fair.estimate, abs=1e-9)
    assert two_way_se(odd.influence, ()) < 1.01 * two_way_se(fair.influence, ())
