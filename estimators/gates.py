"""Gates: attempts to refute an effect, each computed from sums by cluster, without a refit.

A gate's result is no evidence for an effect; passing all of them only means that none of them took it away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from whyrank.estimators.effects import Effect
from whyrank.estimators.estimate import Check
from whyrank.estimators.panel import Codes, Floats
from whyrank.estimators.sums import Sums
from whyrank.estimators.words import Language, say

__all__ = [
    "bootstrap",
    "leave_one_out",
    "modifier_placebo",
    "overlap",
    "placebo",
    "random_common_cause",
    "subset",
]

PLACEBO_DRAWS = 200
SUBSET_DRAWS = 100
SUBSET_ORDERS = 10
COMMON_CAUSE_DRAWS = 200
BOOTSTRAP_DRAWS = 200
MIN_OVERLAP = 0.5

PERMUTED = 1_000
"""Clusters up to which every placebo is a permutation of its own; of more, they are the rotations of a random order."""

HEAVY = 512
"""Clusters that the bootstrap re-weighs: those that matter most."""


def overlap(effect: Effect, *, numeric: bool, language: Language = "en") -> Check:
    """Whether enough rows could have had either level (numeric cause: whether enough of it varies freely)."""
    threshold = 0.01 if numeric else MIN_OVERLAP
    share = effect.overlap
    detail = say(language, "overlap numeric" if numeric else "overlap", share=share)
    return Check("overlap", bool(share >= threshold), share, threshold, detail)


def placebo(sums: Sequence[Sums], rng: np.random.Generator, *, language: Language = "en") -> Check:
    """Shuffle the cause among the clusters it is assigned to; the effect must stand out from the placebos.

    Whole clusters exchange their residual causes (scaled by their size), so that a placebo repeats within items or
    users just as the cause does. A cause that varies within both is turned round at random for whole users, and for
    whole items, so that what the exposures of one have in common stays together; the wider of the two counts.

    Parameters
    ----------
    sums : the effect's sums over the clusters that the cause is assigned to; over users and items if to neither.
    rng : for the draws.
    """
    any_way = sums[0]
    mean = float(any_way.outcome.sum()) / any_way.total
    energy = max(float(any_way.squares.sum()), 1e-300)
    # Residual on residual, so that the placebos and what they are compared with are on one scale.
    observed = (float(any_way.product.sum()) - mean * float(any_way.cause.sum())) / energy
    if len(sums) == 1 and any_way.kind != "rows":
        s = any_way
        here = s.counted > 0
        mass = s.counted[here]
        draws = _shuffled(s.cause[here] / mass, s.outcome[here] - mean * mass, mass, PLACEBO_DRAWS, rng)
        name = "placebo"
    else:
        found = [_turned((s.product - mean * s.cause) / energy, rng) for s in sums]
        draws = max(found, key=lambda d: float(np.quantile(np.abs(d), 0.95)))
        name = "placebo turned"
    limit = float(np.quantile(np.abs(draws), 0.95))
    detail = say(language, name, centre=float(draws.mean()), limit=limit, draws=len(draws))
    return Check("placebo", bool(abs(observed) > limit), observed, limit, detail, _drawn(draws))


def _turned(scores: Floats, rng: np.random.Generator) -> Floats:
    """Sums of scores whose signs are drawn at random, cluster by cluster."""
    heavy = np.argsort(-np.abs(scores), kind="stable")
    most, rest = scores[heavy[: 4 * HEAVY]], scores[heavy[4 * HEAVY :]]
    signs = 2.0 * rng.integers(0, 2, (PLACEBO_DRAWS, len(most)), dtype=np.int8) - 1.0
    return np.asarray(signs @ most + np.sqrt(rest @ rest) * rng.standard_normal(PLACEBO_DRAWS))


def _shuffled(values: Floats, pull: Floats, mass: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Slopes of the outcome on shuffled values: Σ(v - v̄)·pull / Σ(v - v̄)²·mass, with v̄ weighted by mass."""
    whole, drift = float(mass.sum()), float(pull.sum())
    if len(values) <= PERMUTED:
        v = rng.permuted(np.tile(values, (draws, 1)), axis=1)
        sums = np.stack([v @ mass, v @ pull, v**2 @ mass])
    else:
        twice = np.tile(rng.permutation(values), 2)
        squares, size = twice**2, len(values)
        starts = rng.integers(0, size, draws)
        parts = [(twice[s : s + size] @ mass, twice[s : s + size] @ pull, squares[s : s + size] @ mass) for s in starts]
        sums = np.array(parts).T
    centre = sums[0] / whole
    return np.asarray((sums[1] - centre * drift) / np.maximum(sums[2] - centre**2 * whole, 1e-300))


def random_common_cause(sums: Sums, se: float, rng: np.random.Generator, *, language: Language = "en") -> Check:
    """Adjust for a random column assigned like the cause; the effect must not move (Frisch-Waugh, in closed form).

    With a standard normal value for each cluster, the products of the random column with cause and outcome are jointly
    normal, whose variances are the sums of squares of the cluster sums: they are drawn as such.
    """
    s_tt, s_ty, s_rr = float(sums.squares.sum()), float(sums.product.sum()), max(float(sums.counted.sum()), 1.0)
    tt, ty, yy = (float(a @ b) for a, b in ((sums.cause,) * 2, (sums.cause, sums.outcome), (sums.outcome,) * 2))
    z, e = rng.standard_normal((2, COMMON_CAUSE_DRAWS))
    with_t = np.sqrt(tt) * z
    slope = ty / tt if tt > 0 else 0.0
    with_y = slope * with_t + np.sqrt(max(yy - slope * ty, 0.0)) * e
    left = np.maximum(s_tt - with_t**2 / s_rr, 1e-12 * s_tt)
    shifts = (s_ty - with_t * with_y / s_rr) / left - s_ty / s_tt
    shift = float(np.median(np.abs(shifts))) / se
    detail = say(language, "random common cause", shift=shift)
    return Check("random_common_cause", bool(shift <= 0.5), shift, 0.5, detail)


def subset(estimate: float, sums: Sums, rng: np.random.Generator, *, language: Language = "en") -> Check:
    """Drop a random fifth of the clusters again and again; the sign must hold in 95 % of the draws.

    A fifth of the clusters is a stretch of a random order of them, so that a few orders serve many draws.
    """
    groups = sums.groups
    drop = max(1, groups // 5)
    each = SUBSET_DRAWS // SUBSET_ORDERS
    orders = rng.permuted(np.tile(np.arange(groups), (SUBSET_ORDERS, 1)), axis=1)
    starts = rng.integers(0, groups, (SUBSET_ORDERS, each))
    influence, rows = (_stretches(column[orders], starts, drop) for column in (sums.influence, sums.rows))
    left = np.maximum(sums.total - rows, 1.0)
    draws = (estimate + (float(sums.influence.sum()) - influence) / left).ravel()
    same = float(np.mean(np.sign(draws) == np.sign(estimate)))
    detail = say(language, "subset", same=same, draws=SUBSET_DRAWS)
    return Check("subset", bool(same >= 0.95), same, 0.95, detail, _drawn(draws))


def _stretches(values: Floats, starts: npt.NDArray[np.int64], length: int) -> Floats:
    """Sums of `length` neighbours from each start on, round the end; shapes (orders, groups), (orders, draws)."""
    run = np.cumsum(np.hstack([np.zeros((len(values), 1)), values, values[:, :length]]), axis=1)
    return np.asarray(np.take_along_axis(run, starts + length, axis=1) - np.take_along_axis(run, starts, axis=1))


def leave_one_out(estimate: float, ways: Mapping[str, Sums], *, language: Language = "en") -> Check:
    """Leave out the one user or item that matters most; half of the effect must remain. Single rows aren't tried."""
    worst, least = "clusters", 1.0
    for kind, sums in ways.items():
        if kind == "rows":
            continue
        without = estimate - sums.influence / np.maximum(sums.total - sums.rows, 1.0)
        share = float(np.min(without / estimate)) if estimate else 0.0
        if share < least:
            least, worst = share, kind
    detail = say(language, "leave one out", what=say(language, worst[:-1]), left=least)
    return Check("leave_one_out", bool(least >= 0.5), least, 0.5, detail)


def bootstrap(effect: Effect, se: float, sums: Sums, rng: np.random.Generator, *, language: Language = "en") -> Check:
    r"""Re-weigh whole clusters at random; the effect must not spread wider than its standard error promises.

    The last stage is computed anew for every draw, so that what a standard error from influence values can't see, a
    denominator that hangs on a few clusters, shows:

    .. math:: \theta^* = \hat\theta + \frac{\sum_g w_g S_g}{\sum_g w_g a_g}, \quad w_g \sim Exp(1)

    with S the cluster's scores and a the share of the effect that it carries.

    References
    ----------
    Rubin (1981), The Bayesian bootstrap, Annals of Statistics 9; Cheng, Yu and Huang (2013), The cluster bootstrap
    consistency in generalized estimating equations, Journal of Multivariate Analysis 115.
    """
    scores, share = sums.influence / sums.total, sums.share
    heavy = np.argsort(-(np.abs(scores) + np.abs(effect.estimate) * share), kind="stable")[:HEAVY]
    extra = rng.standard_exponential((BOOTSTRAP_DRAWS, len(heavy))) - 1.0
    top, bottom = scores.sum() + extra @ scores[heavy], share.sum() + extra @ share[heavy]
    draws = effect.estimate + top / np.maximum(bottom, 1e-9)
    low, high = np.quantile(draws, (0.1587, 0.8413))
    wider = float(high - low) / 2 / se
    detail = say(language, "bootstrap", wider=wider, draws=BOOTSTRAP_DRAWS)
    return Check("bootstrap", bool(wider <= 1.5), wider, 1.5, detail, _drawn(draws))


def modifier_placebo(
    effect: Effect,
    varied: Effect,
    level: Floats,
    codes: Codes,
    rng: np.random.Generator,
    *,
    numeric: bool,
    language: Language = "en",
) -> Check:
    """Permute the modifier among its clusters; the difference in effect must stand out from the placebos.

    Parameters
    ----------
    effect : the effect of the cause; `varied` is its difference by the modifier.
    level, numeric : as in `effects.modified`.
    codes : clusters in which the modifier varies.
    """
    top, mass = effect.scores
    groups = int(codes.max()) + 1
    m = np.full(groups, np.nan)
    m[codes] = level  # every row of a cluster has the same modifier
    known = np.isfinite(m)
    top, mass = (np.bincount(codes, weights=column, minlength=groups)[known] for column in (top, mass))
    # A 0/1 modifier's difference of two ratios is the slope on it, weighted by mass.
    draws = _shuffled(m[known], top - mass * (top.sum() / mass.sum()), mass, PLACEBO_DRAWS, rng)
    limit = float(np.quantile(np.abs(draws), 0.95))
    detail = say(language, "placebo modifier", centre=float(draws.mean()), limit=limit, draws=PLACEBO_DRAWS)
    return Check("placebo", bool(abs(varied.estimate) > limit), varied.estimate, limit, detail, _drawn(draws))


def _drawn(draws: Iterable[float]) -> dict[str, list[float]]:
    return {"draws": [float(f"{d:.6g}") for d in draws]}
