"""Effects from cross-fitted nuisances: AIPW for levels, partialling-out for numeric causes, and how both vary.

Each effect comes as a point and an influence value per row; everything later (standard errors, placebo, subsets,
leave-one-out) is arithmetic on those, without a refit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from whyrank.estimators.combination import Apart
from whyrank.estimators.panel import Floats

__all__ = ["Effect", "aipw", "modified", "naive_levels", "naive_numeric", "partialling_out"]

Mask = npt.NDArray[np.bool_]

_ALL_ROWS = 0.95
"""Share of rows in reach from which the average over all rows is estimated."""

_NO_ROWS = 0.05
"""Share of rows in reach below which nothing is."""


@dataclass(frozen=True)
class Effect:
    """A point estimate with its influence values.

    Attributes
    ----------
    estimate : the effect, in outcome units.
    influence : centred influence values, shape (n,); the estimation error is about their mean.
    leverage : how much each row weighs in it, shape (n,); for effective numbers of rows and clusters.
    t_residual, y_residual : what the adjustment set leaves of cause and outcome, shape (n,); 0 where it doesn't count.
    pseudo : row-level effect scores whose (weighted) mean is the estimate (AIPW), or None (partialling-out).
    overlap : share of rows with both arms in reach (numeric cause: share of its variance that is left).
    population : rows the effect is averaged over.
    estimator : its name.
    blocked : empty, or the name of the sentence (in `words`) that says why there is no estimate.
    apart : levels that never occur together, so that rows with one of them are out of reach.
    weight : weight of each row, mean 1, or None. Influence and leverage hold it; residuals hold its square root.
    """

    estimate: float
    influence: Floats
    leverage: Floats
    t_residual: Floats
    y_residual: Floats
    pseudo: Floats | None
    overlap: float
    population: str
    estimator: str
    blocked: str = ""
    apart: tuple[Apart, ...] = ()
    weight: Floats | None = None

    @property
    def scores(self) -> tuple[Floats, Floats]:
        """Moment and mass of each row: the effect among some rows is the sum of the one over the sum of the other."""
        if self.pseudo is None:
            return self.t_residual * self.y_residual, self.t_residual**2
        counts = np.isfinite(self.pseudo)
        mass = counts.astype(np.float64) if self.weight is None else np.where(counts, self.weight, 0.0)
        return np.where(counts, self.pseudo, 0.0) * mass, mass

    @property
    def ess(self) -> float:
        """Effective sample size after weighting, (Σw)² / Σw² over the rows that count."""
        w = np.abs(self.leverage)
        total = float(w @ w)
        return float(w.sum()) ** 2 / total if total > 0 else 0.0


def aipw(
    y: Floats,
    arm: Mask,
    reference: Mask,
    e_arm: Floats,
    e_ref: Floats,
    mu_arm: Floats,
    mu_ref: Floats,
    weight: Floats | None = None,
) -> Effect:
    r"""Augmented inverse-propensity estimate of a level against its reference.

    .. math:: \psi_a = \mu_a(W) + \frac{1(T=a)}{e_a(W)} (Y - \mu_a(W)), \quad \theta = E[\psi_a - \psi_{ref}]

    Weights are normalised in each arm. Rows in which either propensity is below a floor are out of reach. A few count
    with what is predicted of them: the one that has a level against all odds would outweigh everything. When they are
    more than 5 %, there is no saying what the average over all rows would be, and what a floor happens to leave is no
    population. The effect is then that in `overlap`: rows count by
    :math:`e_a e_{ref} / (e_a + e_{ref})`, most where either level was as likely as the other. Where one level is rare
    that is, very nearly, the effect on those that have it.

    Parameters
    ----------
    y : outcome; all arrays have shape (n,).
    arm, reference : rows at the level and at the reference.
    e_arm, e_ref : out-of-fold propensities.
    mu_arm, mu_ref : out-of-fold outcome predictions under either.
    weight : weight of each row, mean 1, with which propensities and predictions were fitted too; None: all alike.

    References
    ----------
    Robins, Rotnitzky and Zhao (1994), JASA 89; Chernozhukov et al. (2018), Econometrics Journal 21; Li, Morgan and
    Zaslavsky (2018), Balancing covariates via propensity score weighting, JASA 113.
    """
    row: Floats | float = 1.0 if weight is None else weight
    smaller = min(float(np.mean(row * arm)), float(np.mean(row * reference)))
    floor = float(np.clip(0.1 * smaller, 0.002, 0.01))
    reach = (e_arm >= floor) & (e_ref >= floor)
    overlap = float(np.mean(row * reach))
    either = arm | reference
    odds = np.divide(e_arm, e_arm + e_ref, out=np.zeros(len(y)), where=e_arm + e_ref > 0)
    possible = either & (e_arm > 0) & (e_ref > 0)
    root = np.sqrt(row)
    if overlap < _ALL_ROWS:
        if overlap < _NO_ROWS or not (arm & reach).any() or not (reference & reach).any():
            return blocked_effect(len(y), "AIPW", overlap, "no overlap")
        t_residual = np.where(possible, root * (arm - odds), 0.0)
        y_residual = np.where(possible, root * (y - odds * mu_arm - (1 - odds) * mu_ref), 0.0)
        return _overlapping(y_residual, t_residual, overlap, weight)
    w_arm, w_ref = _inverse(arm, e_arm, floor, row), _inverse(reference, e_ref, floor, row)
    if not (w_arm.any() and w_ref.any()):
        return blocked_effect(len(y), "AIPW", overlap, "no overlap")
    pseudo = mu_arm - mu_ref + w_arm / row * (y - mu_arm) - w_ref / row * (y - mu_ref)
    estimate = float(np.mean(row * pseudo))
    return Effect(
        estimate,
        row * (pseudo - estimate),
        w_arm - w_ref,
        np.where(either, root * (arm - odds), 0.0),
        np.where(either, root * (y - odds * mu_arm - (1 - odds) * mu_ref), 0.0),
        pseudo,
        overlap,
        "all rows",
        "AIPW",
        weight=weight,
    )


def _inverse(side: Mask, e: Floats, floor: float, row: Floats | float) -> Floats:
    """Return the inverse propensities of one side, normalised; a row out of reach would outweigh all, and gets none."""
    reached = e >= floor
    w = np.where(side & reached, row / np.maximum(e, floor), 0.0)
    total = float(w.mean())
    return w * (float(np.mean(row * reached)) / total) if total > 0 else w


def _overlapping(y_residual: Floats, t_residual: Floats, overlap: float, weight: Floats | None) -> Effect:
    r"""Return the effect in the overlap population: residual on residual weighs each row by e (1 - e).

    .. math:: \theta = \frac{\sum \tilde T \tilde Y}{\sum \tilde T^2} \to
        \frac{E[e (1 - e) \tau(W)]}{E[e (1 - e)]}
    """
    effect = on_residuals(y_residual, t_residual, weight)
    return replace(effect, overlap=overlap, population="overlap", estimator="overlap weights")


def partialling_out(y_residual: Floats, t_residual: Floats, t_variance: float, weight: Floats | None = None) -> Effect:
    r"""Residual-on-residual estimate for a numeric cause: the average derivative under a partially linear model.

    .. math:: \theta = \frac{\sum \tilde T \tilde Y}{\sum \tilde T^2}

    Parameters
    ----------
    y_residual, t_residual : what the adjustment set leaves of either, shape (n,); 0 where the cause is missing.
    t_variance : variance of the cause before adjustment.
    weight : weight of each row, mean 1, or None.

    References
    ----------
    Robinson (1988), Econometrica 56; Chernozhukov et al. (2018), section 4.1.
    """
    if weight is not None:
        root = np.sqrt(weight)
        y_residual, t_residual = root * y_residual, root * t_residual
    spread = float(np.mean(t_residual**2))
    left = min(spread / t_variance, 1.0) if t_variance > 0 else 0.0
    if left < 1e-3:
        return blocked_effect(len(y_residual), "partialling-out", left, "determined")
    return replace(on_residuals(y_residual, t_residual, weight), overlap=left)


def on_residuals(y_residual: Floats, t_residual: Floats, weight: Floats | None) -> Effect:
    """Regress residual on residual; with weights the residuals hold their square roots."""
    return Effect(
        *slope_along(t_residual, y_residual, t_residual, weight),
        t_residual,
        y_residual,
        None,
        1.0,
        "all rows",
        "partialling-out",
        weight=weight,
    )


def slope_along(
    drive: Floats, y_residual: Floats, t_residual: Floats, weight: Floats | None
) -> tuple[float, Floats, Floats]:
    r"""Return :math:`\sum d \tilde Y / \sum d \tilde T` with influence and leverage of each row.

    What drives the comparison is the residual cause itself, or what instruments predict of it.
    """
    moved = float(np.mean(drive * t_residual))
    estimate = float(np.mean(drive * y_residual) / moved)
    influence = drive * (y_residual - estimate * t_residual) / moved
    return estimate, influence, drive / moved if weight is None else drive * np.sqrt(weight) / moved


def modified(effect: Effect, level: Floats, *, numeric: bool) -> Effect:
    """Return how an effect differs between the level and the reference of a modifier, or its slope in a numeric one.

    Parameters
    ----------
    effect : the effect of the cause alone.
    level : 1 at the level, 0 at the reference, NaN elsewhere; or the values of a numeric modifier; shape (n,).
    numeric : which of the two.
    """
    counts = np.isfinite(effect.pseudo) if effect.pseudo is not None else effect.t_residual != 0
    if not numeric:
        high, low = _group(effect, (level == 1) & counts), _group(effect, (level == 0) & counts)
        if high is None or low is None:
            return blocked_effect(len(level), effect.estimator, effect.overlap, "group lacks arm")
        return replace(
            effect,
            estimate=high[0] - low[0],
            influence=high[1] - low[1],
            leverage=high[2] - low[2],
            pseudo=None,
        )
    rows = np.isfinite(level) & counts
    n, k = len(level), float(rows.mean())
    if k == 0 or float(np.var(level[rows])) == 0:
        return blocked_effect(n, effect.estimator, effect.overlap, "modifier constant")
    if effect.pseudo is not None:
        moment, mass = (np.where(rows, column, 0.0) for column in effect.scores)
        total = float(mass.sum())
        m = np.where(rows, level - float(mass[rows] @ level[rows]) / total, 0.0)
        spread = float(np.mean(mass * m**2))
        slope = float(np.mean(m * moment) / spread)
        centre = float(moment.sum()) / total
        influence = m * (moment - mass * (centre + slope * m)) / spread
        leverage = m * effect.leverage / spread
    else:
        m = np.where(rows, level - level[rows].mean(), 0.0)
        t, yr = np.where(rows, effect.t_residual, 0.0), effect.y_residual
        Z = np.column_stack([t, t * m])
        bread = np.linalg.inv(Z.T @ Z / n)
        both = bread @ (Z.T @ yr / n)
        slope = float(both[1])
        influence = ((yr - Z @ both)[:, None] * Z @ bread)[:, 1]
        leverage = (Z @ bread)[:, 1] if effect.weight is None else (Z @ bread)[:, 1] * np.sqrt(effect.weight)
    return replace(effect, estimate=slope, influence=influence, leverage=leverage, pseudo=None)


def _group(effect: Effect, rows: Mask) -> tuple[float, Floats, Floats] | None:
    """Return (estimate, influence, leverage) of the effect among `rows`."""
    moment, mass = (np.where(rows, column, 0.0) for column in effect.scores)
    size = float(mass.mean())
    if size <= 0:
        return None
    mean = float(moment.mean()) / size
    leverage = np.where(rows, effect.leverage, 0.0)
    if effect.pseudo is not None:
        leverage = leverage / size
        if not (np.any(leverage > 0) and np.any(leverage < 0)):
            return None
    else:
        leverage = leverage * (float(np.mean(effect.t_residual**2)) / size)
    return mean, (moment - mean * mass) / size, leverage


def naive_levels(y: Floats, arm: Mask, reference: Mask) -> Effect:
    """Return the difference of means between two arms, with nothing adjusted for."""
    n = len(y)
    p_arm, p_ref = float(arm.mean()), float(reference.mean())
    if p_arm == 0 or p_ref == 0:
        return blocked_effect(n, "naive", 0.0, "an arm is empty")
    w = np.where(arm, 1 / p_arm, 0.0) - np.where(reference, 1 / p_ref, 0.0)
    m_arm, m_ref = float(y[arm].mean()), float(y[reference].mean())
    pseudo = m_arm - m_ref + np.where(arm, (y - m_arm) / p_arm, 0.0) - np.where(reference, (y - m_ref) / p_ref, 0.0)
    return Effect(m_arm - m_ref, pseudo - (m_arm - m_ref), w, w, y, pseudo, 1.0, "all rows", "naive")


def naive_numeric(y: Floats, t: Floats) -> Effect:
    """Return the slope of the outcome on a numeric cause, with nothing adjusted for (NaN: the row doesn't count)."""
    known = np.isfinite(t)
    if not known.any():
        return blocked_effect(len(y), "naive", 0.0, "constant")
    t_residual = np.where(known, t - t[known].mean(), 0.0)
    y_residual = np.where(known, y - y[known].mean(), 0.0)
    return partialling_out(y_residual, t_residual, float(np.mean(t_residual**2)))


def blocked_effect(n: int, estimator: str, overlap: float, why: str) -> Effect:
    """Return the effect that could not be estimated."""
    none = np.zeros(n)
    return Effect(float("nan"), none, none, none, none, None, overlap, "all rows", estimator, why)
