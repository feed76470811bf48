r"""Effects through measured mediators, where what confounds cause and outcome is not measured.

With residuals on the columns adjusted for, :math:`\beta` of the mediators on the cause and :math:`\gamma` of the
outcome on the mediators beside the cause (at its average level: products of the two are among the regressors):

.. math:: \theta = \sum_m \beta_m \gamma_m, \quad \psi = \sum_m (\gamma_m \psi_{\beta_m} + \beta_m \psi_{\gamma_m})

References
----------
Pearl (1995), Causal diagrams for empirical research, Biometrika 82; Fulcher et al. (2020), Robust inference on
population indirect causal effects: the generalized front door criterion, JRSS B 82.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whyrank.estimators.design import Floats
from whyrank.estimators.effects import Effect, blocked_effect, on_residuals

__all__ = ["FrontDoorEffect", "front_door"]

MAX_PRODUCTS = 16
"""Products of mediator and cause columns up to which they are among the regressors."""


@dataclass(frozen=True)
class FrontDoorEffect(Effect):
    """An effect through mediators; `y_residual` is what they carry of the outcome, `t_residual` the cause.

    Attributes
    ----------
    legs : the way from the cause to the mediators and that from them to the outcome, each as if it were the effect:
        both have the same estimate, and their influence values add up to the effect's.
    weights : how much of the effect goes through each mediator column, shape (k,).
    """

    legs: tuple[Effect, ...] = ()
    weights: tuple[float, ...] = ()


def front_door(
    y_residual: Floats,
    t_residual: Floats,
    m_residual: Floats,
    which: int,
    t_variance: float,
    *,
    weight: Floats | None = None,
) -> Effect:
    """Estimate an effect from residuals of outcome, cause and mediators.

    Parameters
    ----------
    y_residual : shape (n,); 0 where a row doesn't count.
    t_residual : the cause's columns, shape (n, q): one, or one a level of a category.
    m_residual : the mediators' columns, shape (n, k).
    which : the column of the cause whose effect it is.
    t_variance : variance of that column before adjustment.
    weight : weight of each row, mean 1, or None.
    """
    n, q = t_residual.shape
    if weight is not None:
        root = np.sqrt(weight)
        y_residual, t_residual, m_residual = root * y_residual, root[:, None] * t_residual, root[:, None] * m_residual
    others = np.delete(t_residual, which, axis=1)
    t = t_residual[:, which] - others @ np.linalg.lstsq(others, t_residual[:, which], rcond=1e-8)[0]
    left = float(np.mean(t**2)) / t_variance if t_variance > 0 else 0.0
    if left < 1e-3:
        return blocked_effect(n, "front-door", left, "determined")
    before = np.mean(m_residual**2, axis=0)
    beta = np.linalg.lstsq(t_residual, m_residual, rcond=1e-8)[0]
    eta = m_residual - t_residual @ beta
    free = float(np.min(np.mean(eta**2, axis=0) / np.maximum(before, 1e-300)))
    if free < 1e-3:
        return blocked_effect(n, "front-door", free, "mediators determined")
    k = m_residual.shape[1]
    products = (eta[:, :, None] * t_residual[:, None, :]).reshape(n, k * q) if k * q <= MAX_PRODUCTS else eta[:, :0]
    X = np.hstack([eta, t_residual, products])
    bread = np.linalg.pinv(X.T @ X / n, hermitian=True, rcond=1e-9)
    coefficients = bread @ (X.T @ y_residual / n)
    gamma, direct = coefficients[:k], beta[which]
    estimate = float(direct @ gamma)
    # The first leg: what the mediators carry of the outcome, on the cause; the second: the outcome on that.
    carried = m_residual @ gamma - others @ np.linalg.lstsq(others, m_residual @ gamma, rcond=1e-8)[0]
    toward = X @ (bread[:, :k] @ direct)
    length = float(np.mean(toward**2))
    rest = y_residual - X @ coefficients
    first = on_residuals(carried, t, weight)
    if not length > 0:
        return blocked_effect(n, "front-door", free, "mediators determined")
    second = on_residuals(rest + estimate * toward / length, toward / length, weight)
    return FrontDoorEffect(
        estimate,
        first.influence + second.influence,
        first.leverage,
        t,
        carried,
        None,
        min(left, free, 1.0),
        "all rows",
        "front-door",
        weight=weight,
        legs=(first, second),
        weights=tuple(float(w) for w in direct * gamma),
    )
