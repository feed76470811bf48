"""Refuters in closed form: where a simulation's results would have their mean and spread, without simulating.

All functions work on arrays of any one shape, an element an edge. Notation: t̃ and ỹ are what the adjustment columns
leave of cause and outcome, e = ỹ − θ t̃, and s_tt = Σ t̃² and so on are sums over rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Noise", "Spread", "noisy_bootstrap", "placebo", "random_common_cause", "robustness", "subset"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the estimate over the simulations of one refuter."""

    mean: Floats
    sd: Floats


def placebo(s_yy: Floats, total_tt: Floats, n: int, adjusted: Floats) -> Spread:
    r"""Permute the cause over the rows: exact moments of the numerator over all n! permutations.

    .. math:: \hat\theta_\pi = \frac{\sum_i t_{\pi(i)} \tilde y_i}{\lVert M_W t_\pi \rVert^2}, \quad
        Var\Bigl(\sum_i t_{\pi(i)} \tilde y_i\Bigr) = \frac{\sum t^2 \sum \tilde y^2}{n - 1}, \quad
        E\lVert M_W t_\pi \rVert^2 = \Bigl(1 - \frac{p}{n - 1}\Bigr) \sum t^2

    Parameters
    ----------
    s_yy : sum of squares of the outcome residuals.
    total_tt : sum of squares of the cause about its mean, nothing adjusted for.
    n : rows.
    adjusted : number of adjustment columns p (0 with out-of-fold predictions).

    References
    ----------
    Pitman (1937), Supplement to the JRSS 4; the refuter is DoWhy's `placebo_treatment_refuter` with `permute`.
    """
    sd = np.sqrt(s_yy / ((n - 1) * total_tt)) / (1 - adjusted / (n - 1))
    return Spread(np.zeros_like(sd), sd)


def random_common_cause(estimate: Floats, s_ee: Floats, s_tt: Floats, freedom: Floats) -> Spread:
    r"""Adjust for one more column, drawn from a standard normal: exact.

    The column's coordinates along t̃ and e are independent standard normals, so with m dimensions left

    .. math:: \theta_r - \theta = -\sqrt{s_{ee}/s_{tt}}\, \frac{z_1 z_2}{z_2^2 + \chi^2_{m-2}}, \quad
        Var(\theta_r) = \frac{s_{ee}}{s_{tt}\,(m-1)(m-3)}

    Parameters
    ----------
    estimate, s_ee, s_tt : the effect, and the sums of squares of e and t̃.
    freedom : m = rows − adjustment columns − 1.
    """
    sd = np.sqrt(s_ee / s_tt / ((freedom - 1) * np.maximum(freedom - 3, 1)))
    return Spread(np.array(estimate), sd)


def subset(estimate: Floats, variance: Floats, fraction: float) -> Spread:
    r"""Keep a random share f of the rows (or clusters), to first order.

    .. math:: Var(\theta_S) = \frac{1 - f}{f} V, \quad V = \frac{n}{n - 1} \frac{\sum (\tilde t e)^2}{s_{tt}^2}

    Parameters
    ----------
    estimate, variance : the effect and its robust variance V, by rows or by clusters.
    fraction : the share f that is kept.
    """
    return Spread(np.array(estimate), np.sqrt((1 - fraction) / fraction * variance))


def noisy_bootstrap(estimate: Floats, s_tt: Floats, scores: Floats, s_ee: Floats, noise: Noise, n: int) -> Spread:
    r"""Resample rows with replacement and add normal noise to the adjustment columns.

    With noise of variance D the regressions are those on the Gram matrix WᵀW + nD. Their coefficients γ (cause) and δ
    (outcome) make a row's noise enter its score as a = Nγ and b = N(δ − θγ), so that

    .. math:: \sum E[score^2] = \sum \tilde t^2 e^2 + \sigma_b^2 s_{tt} + \sigma_a^2 s_{ee} - 4 n \sigma_{ab}^2
        + n (\sigma_a^2 \sigma_b^2 + 2 \sigma_{ab}^2)

    Parameters
    ----------
    estimate : the effect θ with the noisy columns adjusted for.
    s_tt, s_ee, scores : Σ t̃², Σ e² and Σ t̃² e² of what those coefficients leave on the columns as they are.
    noise : the three variances.
    n : rows.

    Notes
    -----
    The refuter is DoWhy's `bootstrap_refuter` (noise of a tenth of each column's standard deviation).
    """
    among = scores + noise.bb * s_tt + noise.aa * s_ee + n * (noise.aa * noise.bb - 2 * noise.ab**2)
    return Spread(np.array(estimate), np.sqrt(np.maximum(among, 0.0)) / (s_tt + n * noise.aa))


@dataclass(frozen=True)
class Noise:
    """Variances of what noise in the adjustment columns does to a row's residual cause (a) and error (b)."""

    aa: Floats
    bb: Floats
    ab: Floats


def robustness(estimate: Floats, s_tt: Floats, s_ee: Floats) -> Floats:
    r"""Partial R² that an unmeasured confounder needs with both cause and outcome to take the effect to zero.

    .. math:: RV = \tfrac12 \bigl(\sqrt{f^4 + 4 f^2} - f^2\bigr), \quad f^2 = \theta^2 s_{tt} / s_{ee}

    References
    ----------
    Cinelli and Hazlett (2020), Making sense of sensitivity, JRSS B 82.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        f2 = np.minimum(estimate**2 * s_tt / s_ee, 1e100)
    # Subtracting two large numbers would lose what is left of a strong effect.
    return np.asarray(2 * f2 / (np.sqrt(f2**2 + 4 * f2) + f2))
