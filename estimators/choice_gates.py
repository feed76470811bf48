"""Gates for effects from purchases: what `gates` does with residuals, done with the scores of a conditional logit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whyrank.estimators.choice import ChoiceFit
from whyrank.estimators.estimate import Check
from whyrank.estimators.item_worth import WorthFit
from whyrank.estimators.sensitivity import twin
from whyrank.estimators.words import Language, say

__all__ = ["item_placebo", "item_random_common_cause", "omitted_block", "robustness", "user_placebo"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

DRAWS = 200
COMMON_CAUSE_DRAWS = 20


def item_placebo(
    fit: ChoiceFit | WorthFit, column: int, unit: float, rng: np.random.Generator, *, language: Language = "en"
) -> Check:
    """Permute what is particular to the cause among the items; the effect must stand out from the placebos.

    Under no effect each item's score is what was bought beyond what the other columns expect, so a placebo is the score
    of the permuted cause over its information: no refit.
    """
    item, mass, excess = fit.by_item(column)
    seen = mass > 0
    part, mass, excess = item[seen], mass[seen], excess[seen]
    draws = np.array([_slope(rng.permutation(part), mass, excess) for _ in range(DRAWS)])
    return _placebo(draws / unit, _slope(part, mass, excess) / unit, "placebo", language)


def _slope(cause: Floats, mass: Floats, excess: Floats) -> float:
    centred = cause - float(cause @ mass) / float(mass.sum())
    return float(centred @ excess) / max(float(mass @ centred**2), 1e-300)


def user_placebo(
    fit: ChoiceFit,
    column: int,
    unit: float,
    level: Floats,
    rng: np.random.Generator,
    *,
    language: Language = "en",
) -> Check:
    """Permute a modifier among the users; the difference in effect must stand out from the placebos.

    Parameters
    ----------
    fit, column, unit : the model of the effect alone, without the modifier.
    level : each user's modifier, shape (users,); NaN where it doesn't count.
    """
    rows = fit.rows
    own = float(fit.covariance[column, column])
    part = fit.direction(column)[:, 0][rows.item_of_row] / own
    mean = np.add.reduceat(part * fit.probability, rows.indptr[:-1])
    part = part - mean[rows.choice_of_row]
    n = len(level)
    mass = np.bincount(rows.user_of_row, weights=fit.probability * part**2, minlength=n)
    pull = np.bincount(rows.user_of_row, weights=fit.residual * part, minlength=n) + float(fit.beta[column]) * mass
    counts = np.isfinite(level) & (mass > 0)
    level, mass, pull = level[counts], mass[counts], pull[counts]
    centre = float(pull.sum() / mass.sum())

    def slope(moves: Floats) -> float:
        centred = moves - float(moves @ mass) / float(mass.sum())
        return float(centred @ (pull - centre * mass)) / max(float(mass @ centred**2), 1e-300)

    draws = np.array([slope(rng.permutation(level)) for _ in range(DRAWS)])
    return _placebo(draws / unit, slope(level) / unit, "placebo modifier", language)


def _placebo(draws: Floats, observed: float, sentence: str, language: Language) -> Check:
    limit = float(np.quantile(np.abs(draws), 0.95))
    detail = say(language, sentence, centre=float(draws.mean()), limit=limit, draws=DRAWS)
    data = {"draws": [float(f"{d:.6g}") for d in draws]}
    return Check("placebo", bool(abs(observed) > limit), observed, limit, detail, data)


def item_random_common_cause(
    fit: ChoiceFit | WorthFit,
    column: int,
    unit: float,
    se: float,
    rng: np.random.Generator,
    *,
    language: Language = "en",
) -> Check:
    """Adjust for a random column of the items, to first order; the effect must not move."""
    part, mass, excess = fit.by_item(column)
    centred = part - float(part @ mass) / float(mass.sum())
    s_tt = float(mass @ centred**2)
    before = float(centred @ excess) / s_tt
    shifts = np.empty(COMMON_CAUSE_DRAWS)
    for b in range(COMMON_CAUSE_DRAWS):
        r = rng.standard_normal(len(mass))
        r -= float(r @ mass) / float(mass.sum())
        s_rr, s_tr, s_ry = float(mass @ r**2), float((mass * centred) @ r), float(excess @ r)
        shifts[b] = (float(centred @ excess) - s_tr * s_ry / s_rr) / (s_tt - s_tr**2 / s_rr) - before
    shift = float(np.median(np.abs(shifts))) / unit / se
    detail = say(language, "random common cause", shift=shift)
    return Check("random_common_cause", bool(shift <= 0.5), shift, 0.5, detail)


def robustness(t_value: float, dof: float) -> float:
    r"""Partial R² that an unmeasured property of items needs with both cause and choice to take the effect to zero.

    .. math:: RV = \tfrac12 (\sqrt{f^4 + 4 f^2} - f^2), \quad f = |t| / \sqrt{df}

    References
    ----------
    Cinelli and Hazlett (2020), Making sense of sensitivity, JRSS B 82.
    """
    f2 = t_value**2 / dof
    return float(0.5 * (np.sqrt(f2**2 + 4 * f2) - f2)) if np.isfinite(f2) else float("nan")


def omitted_block(
    fit: ChoiceFit | WorthFit,
    column: int,
    unit: float,
    blocks: dict[str, npt.NDArray[np.intp]],
    value: float,
    *,
    language: Language = "en",
) -> Check:
    r"""Would an unmeasured property as strong as the strongest measured attribute take the effect to zero?

    What each attribute explains of the choice and of the cause is read off the information matrix:

    .. math:: |bias| = \sqrt{\frac{1 + \rho}{1 - \rho} E_Z \, R^2_{T \sim Z|W} / (1 - R^2_{T \sim Z|W}) / S_T}, \quad
              E_Z = \beta_Z' (A^{-1}_{ZZ})^{-1} \beta_Z

    with S_T what the columns leave of the cause: `sensitivity.confounder_like` in the metric of the weighted
    regression that the fit is at its maximum.
    """
    theta = float(fit.beta[column]) / unit
    left = 1.0 / float(fit.covariance[column, column])
    strongest, bias = "", 0.0
    for name, columns in blocks.items():
        inner = np.linalg.pinv(fit.covariance[np.ix_(columns, columns)], hermitian=True)
        explained = float(fit.beta[columns] @ inner @ fit.beta[columns])
        others = np.setdiff1d(np.arange(len(fit.beta)), [*columns, column])
        without = _left_over(fit.information, column, others)
        share = max(1.0 - left / without, 0.0) if without > 0 else 0.0
        of_cause, worse = twin(share)
        of_choice = max(explained, 0.0) * worse
        this = float(np.sqrt(of_choice * of_cause / (1 - of_cause) / left)) / unit
        if this > bias:
            strongest, bias = name, this
    if not strongest:
        return Check("sensitivity", True, abs(theta), 0.0, say(language, "sensitivity alone", value=value))
    passed = bool(abs(theta) > bias)
    less = say(language, "less" if passed else "not less")
    detail = say(language, "sensitivity", strongest=strongest, bias=bias, less=less, value=value)
    return Check("sensitivity", passed, abs(theta), bias, detail, {"strongest": strongest})


def _left_over(information: Floats, column: int, others: npt.NDArray[np.intp]) -> float:
    """Return what other columns leave of one column's information."""
    if not len(others):
        return float(information[column, column])
    cross = information[others, column]
    part = np.linalg.solve(information[np.ix_(others, others)], cross)
    return float(information[column, column] - cross @ part)
