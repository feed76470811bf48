r"""The contrasts of one edge looked at together: a category's levels share a reference, and so their errors.

With z the two-sided normal scores of the contrasts' own p-values, the largest first, and R the correlation of their
estimates (from the influence values, by cluster), a contrast's adjusted p-value is the probability that the largest of
the null scores not yet stepped over is as large:

.. math:: \tilde p_l = \max_{k \le l} P(\max_{j \ge k} |Z_j| \ge z_k), \quad Z \sim N(0, R)

The simultaneous interval reaches as far as the 95 % quantile of the largest of all, on each contrast's own t scale.

References
----------
Westfall and Young (1993), Resampling-based multiple testing, Wiley; Hothorn, Bretz and Westfall (2008), Simultaneous
inference in general parametric models, Biometrical Journal 50; for the test of all contrasts, Pustejovsky and Tipton
(2018), Small-sample methods for cluster-robust variance estimation, JBES 36.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from whyrank.estimators.bootstrap import t_quantile
from whyrank.estimators.estimate import Estimate, Together
from whyrank.estimators.sums import Sums

__all__ = ["Evidence", "adjusted_p_values", "correlation", "look_together", "null_scores"]

Floats = npt.NDArray[np.float64]

DRAWS = 20_000
ENOUGH = 100
"""Draws that must be as large for their share to be believed; below, the bound of Bonferroni is used."""


@dataclass(frozen=True)
class Evidence:
    """An estimate, and the sums by cluster that it came from (empty if it is blocked)."""

    estimate: Estimate
    sums: Mapping[str, Sums]


def look_together(evidence: Sequence[Evidence], rng: np.random.Generator) -> list[Estimate]:
    """Return the estimates of one edge, each with what it is worth beside the others.

    Parameters
    ----------
    evidence : every contrast of the edge.
    rng : for the draws.
    """
    estimates = [e.estimate for e in evidence]
    tested = [i for i, e in enumerate(estimates) if np.isfinite(e.p_value) and e.se > 0]
    if len(tested) < 2:
        return estimates
    R = correlation([evidence[i].sums for i in tested])
    p = np.array([estimates[i].p_value for i in tested])
    scores = null_scores(R, rng)
    adjusted = adjusted_p_values(p, scores)
    level = 1.0 - 2.0 * float(special.ndtr(-np.quantile(scores.max(axis=1), 0.95)))
    anything = _wald([estimates[i] for i in tested], R, [evidence[i].sums for i in tested])
    out = list(estimates)
    for i, p_value in zip(tested, adjusted, strict=True):
        e = estimates[i]
        half = t_quantile(e.dof, level) * e.se
        low, high = min(e.estimate - half, e.ci_low), max(e.estimate + half, e.ci_high)
        out[i] = replace(e, together=Together(len(tested), float(p_value), low, high, anything))
    return out


def null_scores(R: Floats, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Draw sizes of correlated null scores, shape (draws, contrasts)."""
    values, vectors = np.linalg.eigh(R)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(np.abs(rng.standard_normal((draws, len(R))) @ root.T))


def adjusted_p_values(p: Floats, scores: Floats) -> Floats:
    """Return p-values adjusted for one another, stepping down.

    Parameters
    ----------
    p : their own, shape (contrasts,).
    scores : draws of sizes of null scores, shape (draws, contrasts).
    """
    draws = len(scores)
    order = np.argsort(p, kind="stable")
    # For each contrast, the largest score among those whose p-value is no smaller.
    largest = np.maximum.accumulate(scores[:, order[::-1]], axis=1)[:, ::-1]
    beyond = np.sum(largest >= -special.ndtri(p[order] / 2), axis=0)
    rare = np.minimum(np.arange(len(p), 0, -1) * p[order], ENOUGH / draws)
    stepped = np.maximum(np.where(beyond >= ENOUGH, beyond / draws, rare), p[order])
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return out


def correlation(sums: Sequence[Mapping[str, Sums]]) -> Floats:
    """Return the correlation of several estimates' errors, from the way of clustering that dominates their variances.

    Estimates on different rows are taken as uncorrelated.
    """
    R = np.eye(len(sums))
    kinds = set.intersection(*(set(s) for s in sums))
    sizes = {kind: {(s[kind].total, s[kind].groups) for s in sums} for kind in kinds}
    usable = sorted(kind for kind in kinds if len(sizes[kind]) == 1)
    if not usable:
        return R
    kind = max(usable, key=lambda k: sum(s[k].variance for s in sums))
    S = np.stack([s[kind].influence for s in sums])
    length = np.sqrt(np.maximum(np.einsum("ij,ij->i", S, S), 1e-300))
    R = (S @ S.T) / np.outer(length, length)
    np.fill_diagonal(R, 1.0)
    return R


def _wald(estimates: Sequence[Estimate], R: Floats, sums: Sequence[Mapping[str, Sums]]) -> float:
    """Return the p-value of Hotelling's T² with the effective number of clusters less one as degrees of freedom."""
    t = np.array([e.estimate / e.se for e in estimates])
    rank = int(np.linalg.matrix_rank(R, hermitian=True, tol=1e-8))
    worth = min((s.effective for each in sums for s in each.values()), default=float(estimates[0].ess))
    dof = worth - 1.0
    if dof - rank + 1 < 1:
        return float("nan")
    squared = float(t @ np.linalg.pinv(R, hermitian=True, rcond=1e-8) @ t)
    return float(stats.f.sf(squared * (dof - rank + 1) / (dof * rank), rank, dof - rank + 1))
