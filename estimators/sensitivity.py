"""Sensitivity: how strong would something unmeasured have to be, beside what is measured?

The measured columns' strengths are read off one Gram matrix of a panel's rows, shared by all its edges: a cause and its
adjustment set are a sub-block of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from whyrank.estimators.effects import Effect
from whyrank.estimators.estimate import Check
from whyrank.estimators.panel import Codes, Columns, Floats
from whyrank.estimators.words import Language, say

__all__ = [
    "BENCHMARK_ROWS",
    "Benchmarks",
    "confounder_like",
    "e_value",
    "robustness_value",
    "sensitivity",
    "twin",
]

BENCHMARK_ROWS = 20_000
"""Rows of the Gram matrix: a benchmark needs two digits, not a million rows."""

MOST = 0.99
"""Partial R² beyond which the bound would divide by nothing."""

HALF = 0.5
"""Share of the cause that a confounder explains at most: with a stronger one there would be little to compare."""


@dataclass(frozen=True)
class Benchmarks:
    """Correlations of all columns of a panel and its outcome, on a sample of rows, means of identities taken out.

    Attributes
    ----------
    gram : correlations, the outcome last, shape (p + 1, p + 1).
    varies : columns that are not constant once the means are taken out.
    """

    gram: Floats
    varies: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, columns: npt.NDArray[np.float32], outcome: Floats, identities: Sequence[Codes] = ()) -> Benchmarks:
        """Compute them.

        Parameters
        ----------
        columns : the whole design on the sample of rows, shape (k, p).
        outcome : on the same rows.
        identities : cluster codes of those rows, within which causes are compared (none: an intercept).
        """
        X = np.column_stack([columns, outcome]).astype(np.float64)
        before = X.std(axis=0)
        X = _within(X, identities)
        spread = np.sqrt(np.mean(X**2, axis=0))
        varies = spread > 1e-6 * np.maximum(before, 1e-12)
        X = np.divide(X, spread, out=np.zeros_like(X), where=varies)
        return cls(X.T @ X / len(X), varies)

    def strengths(self, cause: int, adjust: Columns, blocks: Mapping[str, Columns]) -> dict[str, tuple[float, float]]:
        """Return each block's partial R² with the cause, and with the outcome beside the cause, given all others.

        Both regressions are read off one precision matrix P: taking the outcome out of it is a Schur complement, and a
        block b explains :math:`P_{bt} (P_{bb})^{-1} P_{bt} / P_{tt}` of what the others leave of t.

        Parameters
        ----------
        cause : position of the cause.
        adjust : positions adjusted for.
        blocks : attribute name to its positions, all of them among `adjust`.
        """
        outcome = len(self.gram) - 1
        used = np.unique(adjust[(adjust != cause) & (adjust < outcome)])
        used = used[self.varies[used]]
        order = np.concatenate([used, [cause, outcome]])
        precision = np.linalg.inv(self.gram[np.ix_(order, order)] + 1e-7 * np.eye(len(order)))
        t, y = len(used), len(used) + 1
        without = precision[:y, :y] - np.outer(precision[:y, y], precision[y, :y]) / precision[y, y]
        place = {int(column): i for i, column in enumerate(used)}
        out = {}
        for name, columns in blocks.items():
            where = np.array([place[c] for c in columns.tolist() if c in place], np.intp)
            out[name] = (_partial(without, where, t), _partial(precision, where, y))
        return out


def _partial(precision: Floats, block: npt.NDArray[np.intp], target: int) -> float:
    if not len(block):
        return 0.0
    cross = precision[block, target]
    # Explained by the block beyond the others, as a share of what the others leave: 1 - RSS / (RSS without it).
    gain = float(cross @ np.linalg.solve(precision[np.ix_(block, block)], cross)) / float(precision[target, target])
    return min(max(gain, 0.0), 1.0)


def _within(X: Floats, identities: Sequence[Codes]) -> Floats:
    """Take the means of each cluster out of each column, by turns (three rounds are enough for a benchmark)."""
    X = X - X.mean(axis=0)
    for _ in range(3 if len(identities) > 1 else 1):
        for codes in identities:
            dense = np.unique(codes, return_inverse=True)[1]
            member = sparse.csr_matrix((np.ones(len(dense)), (dense, np.arange(len(dense)))))
            X = X - (member @ X / np.bincount(dense)[:, None])[dense]
    return X


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
    rest = np.where(t != 0, y - effect.estimate * t, 0.0)
    spread = float(rest @ rest)
    f2 = effect.estimate**2 * float(t @ t) / spread if spread > 0 else np.inf
    return float(0.5 * (np.sqrt(f2**2 + 4 * f2) - f2)) if np.isfinite(f2) else 1.0


def e_value(estimate: float, base: float) -> float:
    r"""Risk ratio that an unmeasured confounder needs with both cause and outcome to explain the effect away.

    .. math:: E = RR + \sqrt{RR (RR - 1)}, \quad RR = (p_0 + \theta) / p_0 \text{ or its inverse}

    Parameters
    ----------
    estimate : difference of probabilities.
    base : probability without the cause; NaN comes back where either probability isn't within 0 and 1.

    References
    ----------
    VanderWeele and Ding (2017), Sensitivity analysis in observational research, Annals of Internal Medicine 167.
    """
    if not (0 < base < 1 and 0 < base + estimate < 1):
        return float("nan")
    ratio = (base + estimate) / base
    ratio = max(ratio, 1 / ratio)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


def sensitivity(
    effect: Effect,
    strengths: Mapping[str, tuple[float, float]],
    *,
    base: float = float("nan"),
    step: float = 1.0,
    language: Language = "en",
) -> Check:
    r"""Would an unmeasured confounder as strong as the strongest measured column take the effect to zero?

    .. math:: |\theta| > \sqrt{R^2_{Y \sim Z|T,W}\, R^2_{T \sim Z|W} / (1 - R^2_{T \sim Z|W})}
              \; sd(\tilde Y - \theta \tilde T)/sd(\tilde T)

    with the partial R² of Z bounded by those of the measured column (see `confounder_like`). Point estimates are
    compared: what sampling error may do is the q-value's part.

    Parameters
    ----------
    effect : the effect and its residuals.
    strengths : each measured attribute's partial R² with cause and outcome, as `Benchmarks.strengths` returns them.
    base, step : of a probability, its value without the cause, and the change of the cause compared (a numeric one's
        standard deviation): then the E-value is told too.

    References
    ----------
    Cinelli and Hazlett (2020), Making sense of sensitivity, JRSS B 82, section 4.4.
    """
    value = robustness_value(effect)
    rows = effect.t_residual != 0
    t, y = effect.t_residual[rows], effect.y_residual[rows]
    scale = float(np.std(y - effect.estimate * t)) / max(float(np.std(t)), 1e-300) if rows.any() else 0.0
    strongest, bias = "", 0.0
    for name, (with_cause, with_outcome) in strengths.items():
        this = confounder_like(with_cause, with_outcome) * scale
        if this > bias:
            strongest, bias = name, this
    passed = bool(abs(effect.estimate) > bias)
    if strongest:
        less = say(language, "less" if passed else "not less")
        detail = say(language, "sensitivity", strongest=strongest, bias=bias, less=less, value=value)
    else:
        detail = say(language, "sensitivity alone", value=value)
    data: dict[str, object] = {"strongest": strongest}
    explained = e_value(effect.estimate * step, base)
    if np.isfinite(explained):
        detail += say(language, "e value" if step == 1.0 else "e value of a step", value=explained)
        data["e_value"] = float(f"{explained:.6g}")
    return Check("sensitivity", passed, abs(effect.estimate), bias, detail, data)


def confounder_like(with_cause: float, with_outcome: float) -> float:
    r"""Bias of an unmeasured confounder as strong as a measured column, in units of :math:`sd(Y)/sd(T)`.

    What was measured of such a column is less than what it does unmeasured: beside Z, the column itself takes its
    share. With :math:`r_T, r_Y` the column's partial R², and Z as strong in the cause as the column (k = 1) or, if
    that would leave less than half of the cause to compare, as strong as leaves half,

    .. math:: R^2_{T \sim Z|W} = k \frac{r_T}{1 - r_T} \le \tfrac12, \quad
              R^2_{Y \sim Z|T,W} \le \frac{(1 + \rho)^2}{1 - \rho^2} \frac{r_Y}{1 - r_Y}, \quad
              \rho^2 = \frac{k r_T^2}{(1 - k r_T)(1 - r_T)}

    Parameters
    ----------
    with_cause, with_outcome : the column's partial R² with the cause, and with the outcome beside the cause.

    References
    ----------
    Cinelli and Hazlett (2020), Making sense of sensitivity, JRSS B 82, section 4.4.

    Examples
    --------
    >>> round(confounder_like(0.1, 0.04), 3)
    0.081
    """
    of_cause, worse = twin(with_cause)
    r_y = min(with_outcome, MOST)
    of_outcome = min(worse * r_y / (1 - r_y), 1.0)
    return float(np.sqrt(of_outcome * of_cause / (1 - of_cause)))


def twin(with_cause: float) -> tuple[float, float]:
    """Return what a column's unmeasured twin explains of the cause, and how much more of the outcome it may explain.

    Parameters
    ----------
    with_cause : the column's partial R² with the cause.
    """
    r_t = min(with_cause, MOST)
    odds = r_t / (1 - r_t)
    of_cause = min(odds, HALF)
    k = of_cause / odds if odds > 0 else 1.0
    rho = float(np.sqrt(k * r_t**2 / ((1 - k * r_t) * (1 - r_t))))
    return of_cause, (1 + rho) / (1 - rho)
