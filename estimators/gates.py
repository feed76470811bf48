"""Gates: attempts to refute an effect, each computed from residuals and influence values, without a refit.

A gate's result is no evidence for an effect; passing all of them only means that none of them took it away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from whyrank.estimators.clusters import cluster_sums
from whyrank.estimators.effects import Effect
from whyrank.estimators.estimate import Check
from whyrank.estimators.panel import Codes, Floats
from whyrank.estimators.words import Language, say

__all__ = [
    "leave_one_out",
    "modifier_placebo",
    "overlap",
    "placebo",
    "random_common_cause",
    "robustness_value",
    "sensitivity",
    "subset",
]

PLACEBO_DRAWS = 200
SUBSET_DRAWS = 100
COMMON_CAUSE_DRAWS = 20
MIN_OVERLAP = 0.5
BENCHMARK_ROWS = 40_000  # a benchmark needs two digits, not a million rows


def overlap(effect: Effect, *, numeric: bool, language: Language = "en") -> Check:
    """Whether enough rows could have had either level (numeric cause: whether enough of it varies freely)."""
    threshold = 0.01 if numeric else MIN_OVERLAP
    share = effect.overlap
    detail = say(language, "overlap numeric" if numeric else "overlap", share=share)
    return Check("overlap", bool(share >= threshold), share, threshold, detail)


def placebo(
    effect: Effect, codes: Codes, within: Codes | None, rng: np.random.Generator, *, language: Language = "en"
) -> Check:
    """Permute the cause among the clusters it is assigned to; the effect must stand out from the placebos.

    Whole clusters exchange their residual causes (scaled by their size), so that a placebo repeats within items or
    users just as the cause does. A cause that varies within both is permuted among the rows of an item (`within`).
    """
    t, y = effect.t_residual, effect.y_residual
    energy = float(t @ t)
    draws = np.empty(PLACEBO_DRAWS)
    if within is None:
        size = np.bincount(codes, weights=(t != 0).astype(np.float64))
        present = size > 0
        t_mean = np.divide(cluster_sums(t, codes), size, out=np.zeros(len(size)), where=present)[present]
        pull = cluster_sums(y, codes)[present] - float(np.mean(y)) * size[present]
        mass = size[present]
        for b in range(PLACEBO_DRAWS):
            shuffled = rng.permutation(t_mean)
            shuffled = shuffled - float(shuffled @ mass / mass.sum())
            draws[b] = float(shuffled @ pull / max(float(shuffled**2 @ mass), 1e-300))
    else:
        order = np.argsort(within, kind="stable")
        t_sorted, y_sorted, groups = t[order], y[order] - y.mean(), within[order]
        starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        lengths = np.diff(np.r_[starts, len(groups)])
        first, size = np.repeat(starts, lengths), np.repeat(lengths, lengths)
        place = np.arange(len(groups)) - first
        for b in range(PLACEBO_DRAWS):
            shift = np.repeat(rng.integers(0, lengths), lengths)  # a rotation within each item: exact, and fast
            draws[b] = float(t_sorted[first + (place + shift) % size] @ y_sorted / max(energy, 1e-300))
    # Residual on residual, so that the placebos and what they are compared with are on one scale.
    observed = float(t @ (y - y.mean()) / max(energy, 1e-300))
    limit = float(np.quantile(np.abs(draws), 0.95))
    centre = float(np.mean(draws))
    passed = abs(observed) > limit
    detail = say(language, "placebo", centre=centre, limit=limit, draws=PLACEBO_DRAWS)
    return Check("placebo", passed, observed, limit, detail, {"draws": [float(f"{d:.6g}") for d in draws]})


def random_common_cause(
    effect: Effect, codes: Codes, se: float, rng: np.random.Generator, *, language: Language = "en"
) -> Check:
    """Adjust for a random column assigned like the cause; the effect must not move (Frisch-Waugh, in closed form)."""
    t, y = effect.t_residual, effect.y_residual
    groups = int(codes.max()) + 1
    s_tt, s_ty = float(t @ t), float(t @ y)
    before = s_ty / s_tt
    counts = np.bincount(codes, weights=(t != 0).astype(np.float64), minlength=groups)
    t_sums, y_sums = cluster_sums(t, codes), cluster_sums(y, codes)
    shifts = np.empty(COMMON_CAUSE_DRAWS)
    for b in range(COMMON_CAUSE_DRAWS):
        r = rng.standard_normal(groups)
        s_rr, s_tr, s_ry = float(counts @ r**2), float(t_sums @ r), float(y_sums @ r)
        shifts[b] = (s_ty - s_tr * s_ry / s_rr) / (s_tt - s_tr**2 / s_rr) - before
    shift = float(np.median(np.abs(shifts))) / se
    detail = say(language, "random common cause", shift=shift)
    return Check("random_common_cause", bool(shift <= 0.5), shift, 0.5, detail)


def subset(effect: Effect, codes: Codes, rng: np.random.Generator, *, language: Language = "en") -> Check:
    """Drop a random fifth of the clusters again and again; the sign must hold in 95 % of the draws."""
    sums = cluster_sums(effect.influence, codes)
    sizes = np.bincount(codes).astype(np.float64)
    groups = len(sizes)
    drop = max(1, groups // 5)
    draws = np.empty(SUBSET_DRAWS)
    for b in range(SUBSET_DRAWS):
        kept = np.ones(groups, bool)
        kept[rng.choice(groups, drop, replace=False)] = False
        draws[b] = effect.estimate + float(sums[kept].sum()) / float(sizes[kept].sum())
    same = float(np.mean(np.sign(draws) == np.sign(effect.estimate)))
    detail = say(language, "subset", same=same, draws=SUBSET_DRAWS)
    return Check("subset", bool(same >= 0.95), same, 0.95, detail, {"draws": [float(f"{d:.6g}") for d in draws]})


def leave_one_out(effect: Effect, ways: dict[str, Codes], *, language: Language = "en") -> Check:
    """Leave out the one user or item that matters most; half of the effect must remain."""
    worst, least = "clusters", 1.0
    for kind, codes in ways.items():
        sums = cluster_sums(effect.influence, codes)
        left = len(codes) - np.bincount(codes)
        with np.errstate(divide="ignore", invalid="ignore"):
            without = effect.estimate - sums / np.maximum(left, 1)
        share = float(np.min(without / effect.estimate)) if effect.estimate else 0.0
        if share < least:
            least, worst = share, kind
    detail = say(language, "leave one out", what=say(language, worst[:-1]), left=least)
    return Check("leave_one_out", bool(least >= 0.5), least, 0.5, detail)


def robustness_value(effect: Effect) -> float:
    r"""Partial R² that an unmeasured confounder needs with both cause and effect to take the effect to zero.

    .. math:: RV = \tfrac12 (\sqrt{f^4 + 4 f^2} - f^2), \quad f = |\theta| sd(\tilde T) / sd(\tilde Y - \theta\tilde T)

    References
    ----------
    Cinelli and Hazlett (2020), Making sense of sensitivity, JRSS B 82.
    """
    t, y = effect.t_residual, effect.y_residual
    if not t.any():
        return float("nan")
    rest = y - effect.estimate * t
    rows = t != 0
    spread = float(np.mean(rest[rows] ** 2))
    f2 = effect.estimate**2 * float(np.mean(t[rows] ** 2)) / spread if spread > 0 else np.inf
    return float(0.5 * (np.sqrt(f2**2 + 4 * f2) - f2)) if np.isfinite(f2) else 1.0


def sensitivity(
    effect: Effect,
    cause: Floats,
    outcome: Floats,
    design: npt.NDArray[np.float32],
    blocks: dict[str, npt.NDArray[np.intp]],
    identities: Sequence[Codes] = (),
    *,
    language: Language = "en",
) -> Check:
    r"""Would an unmeasured confounder as strong as the strongest measured column take the effect to zero?

    For each measured attribute its partial R² with cause and with outcome are read off the linear regressions on the
    adjustment columns (in closed form, from one Gram matrix), and the bias of a confounder just as strong is

    .. math:: |bias| = \sqrt{R^2_{Y \sim Z|T,W} R^2_{T \sim Z|W} / (1 - R^2_{T \sim Z|W})} \; sd(\tilde Y)/sd(\tilde T)

    (Cinelli and Hazlett 2020). `blocks` maps each attribute to its columns in `design`. Where the effect compares
    within `identities` (items, users), so do the benchmarks: a column that is constant there can't have confounded it.
    """
    value = robustness_value(effect)
    rows = np.flatnonzero(effect.t_residual)
    if len(rows) > BENCHMARK_ROWS:
        rows = rows[:: len(rows) // BENCHMARK_ROWS + 1]
    within = _demean(
        np.column_stack([design[rows].astype(np.float64), cause[rows], outcome[rows]]),
        [codes[rows] for codes in identities],
    )
    X, t, y = np.column_stack([np.ones(len(rows)), within[:, :-2]]), within[:, -2], within[:, -1]
    strongest, bias = "", 0.0
    t_parts = _partial_r2(X, t, blocks)
    y_parts = _partial_r2(np.column_stack([X, t]), y, blocks)
    scale = float(np.std(effect.y_residual[rows])) / max(float(np.std(effect.t_residual[rows])), 1e-300)
    for name in blocks:
        r_t, r_y = min(t_parts[name], 0.99), y_parts[name]
        this = float(np.sqrt(r_y * r_t / (1 - r_t))) * scale
        if this > bias:
            strongest, bias = name, this
    passed = bool(abs(effect.estimate) > bias)
    if strongest:
        less = say(language, "less" if passed else "not less")
        detail = say(language, "sensitivity", strongest=strongest, bias=bias, less=less, value=value)
    else:
        detail = say(language, "sensitivity alone", value=value)
    return Check("sensitivity", passed, abs(effect.estimate), bias, detail, {"strongest": strongest})


def _demean(columns: Floats, ways: Sequence[Codes]) -> Floats:
    """Take the means of each cluster out of each column, by turns (three rounds are enough for a benchmark)."""
    for _ in range(3 if len(ways) > 1 else 1):
        for codes in ways:
            counts = np.maximum(np.bincount(codes), 1)
            for j in range(columns.shape[1]):
                columns[:, j] -= (cluster_sums(columns[:, j], codes) / counts)[codes]
    columns[:, np.std(columns, axis=0) < 1e-6] = 0.0
    return columns


def _partial_r2(X: Floats, target: Floats, blocks: dict[str, npt.NDArray[np.intp]]) -> dict[str, float]:
    """Partial R² of each block of columns (positions without the intercept) with the target, given all others."""
    gram = X.T @ X
    inverse = np.linalg.pinv(gram, hermitian=True, rcond=1e-9)
    b = inverse @ (X.T @ target)
    residual = target - X @ b
    rss = float(residual @ residual)
    out = {}
    for name, columns in blocks.items():
        where = columns + 1
        part = b[where]
        explained = float(part @ np.linalg.pinv(inverse[np.ix_(where, where)], hermitian=True, rcond=1e-9) @ part)
        out[name] = explained / (explained + rss) if explained + rss > 0 else 0.0
    return out


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
    if effect.pseudo is not None:
        rows = np.isfinite(effect.pseudo)
        top, mass = np.where(rows, effect.pseudo, 0.0), rows.astype(np.float64)
    else:
        top, mass = effect.t_residual * effect.y_residual, effect.t_residual**2
    first = np.full(int(codes.max()) + 1, -1)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # every row of a cluster has the same modifier
    first = first[first >= 0]
    keep = np.unique(codes)
    top, mass = cluster_sums(top, codes)[keep], cluster_sums(mass, codes)[keep]
    m = level[first]
    known = np.isfinite(m)
    top, mass, m = top[known], mass[known], m[known]
    draws = np.empty(PLACEBO_DRAWS)
    for b in range(PLACEBO_DRAWS):
        shuffled = rng.permutation(m)
        if not numeric:
            high, low = shuffled, 1.0 - shuffled
            draws[b] = (high @ top) / max(high @ mass, 1e-300) - (low @ top) / max(low @ mass, 1e-300)
        else:
            v = shuffled - shuffled @ mass / mass.sum()
            draws[b] = (v @ top - top.sum() / mass.sum() * (v @ mass)) / max(v**2 @ mass, 1e-300)
    limit = float(np.quantile(np.abs(draws), 0.95))
    detail = say(language, "placebo modifier", centre=float(draws.mean()), limit=limit, draws=PLACEBO_DRAWS)
    data = {"draws": [float(f"{d:.6g}") for d in draws]}
    return Check("placebo", bool(abs(varied.estimate) > limit), varied.estimate, limit, detail, data)
