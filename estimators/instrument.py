r"""Effects from instruments: columns that move the cause, and the outcome through the cause alone.

With residuals of outcome, cause and instruments on the columns adjusted for, and the part of the cause that the
instruments predict out of fold, :math:`\hat T = \tilde Z \hat\pi_{-k}`:

.. math:: \theta = \frac{\sum \hat T \tilde Y}{\sum \hat T \tilde T}, \quad
    \psi = \frac{\hat T (\tilde Y - \theta \tilde T)}{E[\hat T \tilde T]}

References
----------
Chernozhukov et al. (2018), section 4.2, Econometrics Journal 21 (partially linear IV); Angrist, Imbens and Krueger
(1999), Jackknife instrumental variables estimation, Journal of Applied Econometrics 14.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats

from whyrank.estimators.design import Codes, Floats
from whyrank.estimators.effects import Effect, blocked_effect, on_residuals, slope_along

__all__ = ["InstrumentEffect", "agreement", "effective_f", "instrumented"]

HARDLY = 1e-4
"""Share of the cause's variance below which instruments don't move it."""


@dataclass(frozen=True)
class InstrumentEffect(Effect):
    """An effect from instruments; `t_residual` and `y_residual` are those of cause and outcome.

    Attributes
    ----------
    drive : the part of the cause that the instruments predict, shape (n,); 0 where a row doesn't count.
    first_stage : effective F statistic of the instruments on the cause.
    agreed : p-value of the test that several instruments tell the same effect; NaN for one.
    """

    drive: Floats = field(default_factory=lambda: np.zeros(0))
    first_stage: float = float("nan")
    agreed: float = float("nan")

    @property
    def scores(self) -> tuple[Floats, Floats]:
        """Moment and mass of each row."""
        return self.drive * self.y_residual, self.drive * self.t_residual

    @property
    def reduced(self) -> Effect:
        """The effect of the instruments on the outcome: whether there is any doesn't hang on how strong they are."""
        return on_residuals(self.y_residual, self.drive, self.weight)


def instrumented(
    y_residual: Floats,
    t_residual: Floats,
    z_residual: Floats,
    folds: npt.NDArray[np.int8],
    *,
    ways: Mapping[str, Codes],
    pair: Codes | None = None,
    weight: Floats | None = None,
) -> Effect:
    """Estimate an effect from residuals of outcome, cause and instruments.

    Parameters
    ----------
    y_residual, t_residual : shape (n,); 0 where a row doesn't count.
    z_residual : shape (n, k), likewise.
    folds : fold of each row; the first stage is out of fold where there are several instruments, so that many of them
        don't lead back to the association that they are to avoid.
    ways, pair : clusters of the standard errors, and codes of their intersection.
    weight : weight of each row, mean 1, or None.
    """
    n = len(y_residual)
    if weight is not None:
        root = np.sqrt(weight)
        y_residual, t_residual, z_residual = root * y_residual, root * t_residual, root[:, None] * z_residual
    Z = _orthonormal(z_residual)
    if not Z.shape[1]:
        return blocked_effect(n, "IV", 0.0, "weak instrument")
    drive = _first_stage(Z, t_residual, folds)
    spread, moved = float(np.mean(t_residual**2)), float(np.mean(drive * t_residual))
    energy = float(np.mean(drive**2))
    share = moved**2 / (energy * spread) if energy * spread > 0 and moved > 0 else 0.0
    if share < HARDLY:
        return blocked_effect(n, "IV", share, "weak instrument")
    return InstrumentEffect(
        *slope_along(drive, y_residual, t_residual, weight),
        t_residual,
        y_residual,
        None,
        share,
        "overlap",
        "IV",
        weight=weight,
        drive=drive,
        first_stage=effective_f(Z, t_residual, ways, pair),
        agreed=agreement(Z, t_residual, y_residual, ways, pair),
    )


def effective_f(Z: Floats, t: Floats, ways: Mapping[str, Codes], pair: Codes | None = None) -> float:
    r"""Effective first-stage F of Montiel Olea and Pflueger, clustered; for one instrument the robust F.

    .. math:: F = \hat\pi' \hat\pi / tr(\hat V_\pi)

    with orthonormal instruments.

    References
    ----------
    Montiel Olea and Pflueger (2013), A robust test for weak instruments, JBES 31.
    """
    pi = Z.T @ t / len(t)
    rest = t - Z @ pi
    trace = float(np.trace(_covariance(Z * rest[:, None], ways, pair)))
    return float(pi @ pi) / trace if trace > 0 else float("inf")


def agreement(Z: Floats, t: Floats, y: Floats, ways: Mapping[str, Codes], pair: Codes | None = None) -> float:
    """P-value of the hypothesis that all instruments tell one effect (Hansen's J, robust to clusters); NaN for one.

    References
    ----------
    Hansen (1982), Econometrica 50; Wooldridge (1995), on score tests of overidentifying restrictions.
    """
    k = Z.shape[1]
    groups = min((int(codes.max()) + 1 for codes in ways.values()), default=len(t))
    if k < 2 or groups < 3 * k:
        return float("nan")
    pi, rho = Z.T @ t / len(t), Z.T @ y / len(t)
    theta = float(pi @ rho) / float(pi @ pi)
    M = np.eye(k) - np.outer(pi, pi) / float(pi @ pi)
    V = M @ _covariance(Z * (y - theta * t)[:, None], ways, pair) @ M.T
    m = rho - theta * pi
    values, vectors = np.linalg.eigh(V)
    keep = np.argsort(values)[1:]  # one direction is spent on the effect itself
    if values[keep].min() <= 0:
        return float("nan")
    told = (vectors[:, keep].T @ m) ** 2 / values[keep]
    return float(stats.f.sf(float(told.sum()) / (k - 1), k - 1, max(groups - k, 1)))


def _first_stage(Z: Floats, t: Floats, folds: npt.NDArray[np.int8]) -> Floats:
    """Predict the cause from orthonormal instruments, out of fold if there are several."""
    if Z.shape[1] == 1:
        return np.asarray(Z[:, 0] * float(Z[:, 0] @ t) / len(t))
    count = int(folds.max()) + 1
    members = [folds == k for k in range(count)]
    grams = np.stack([Z[rows].T @ Z[rows] for rows in members])
    moments = np.stack([Z[rows].T @ t[rows] for rows in members])
    drive = np.zeros(len(t))
    for rows, gram, moment in zip(members, grams.sum(0) - grams, moments.sum(0) - moments, strict=True):
        floor = 1e-6 * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
        drive[rows] = Z[rows] @ np.linalg.solve(gram + floor, moment)
    return drive


def _orthonormal(Z: Floats) -> Floats:
    """Return columns that span the same, with Z'Z = n; directions in which nothing varies are left out."""
    values, vectors = np.linalg.eigh(Z.T @ Z / len(Z))
    kept = values > 1e-8 * max(float(values.max(initial=0.0)), 1e-12)
    return np.asarray(Z @ (vectors[:, kept] / np.sqrt(values[kept])))


def _covariance(scores: Floats, ways: Mapping[str, Codes], pair: Codes | None) -> Floats:
    """Covariance of the means of score columns, clustered one or two ways, never below the larger of the ways."""
    n = len(scores)
    if not ways:
        return np.asarray(scores.T @ scores / n**2)
    parts = [_by_cluster(scores, codes) for codes in ways.values()]
    widest = max(parts, key=lambda part: float(np.trace(part)))
    if len(parts) == 2 and pair is not None:
        both = parts[0] + parts[1] - _by_cluster(scores, pair)
        if float(np.trace(both)) > float(np.trace(widest)) and np.linalg.eigvalsh(both).min() > 0:
            widest = both
    return widest / n**2


def _by_cluster(scores: Floats, codes: Codes) -> Floats:
    sums = np.stack([np.bincount(codes, weights=column) for column in scores.T])
    groups = int(np.count_nonzero(np.bincount(codes)))
    return np.asarray(sums @ sums.T) * groups / max(groups - 1, 1)
