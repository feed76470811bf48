r"""A conditional logit in which every item has a worth of its own beyond its columns.

.. math:: P(i \mid C_p) \propto \exp(x_i'\beta + \xi_i), \quad \xi_i \sim N(0, \tau^2)

Items sell very unequally for reasons that no column holds. Left out, that worth makes a few best-sellers decide the
coefficients, and pulls them toward zero where alternatives are few. Here worths are drawn toward zero by their
posterior (penalised quasi-likelihood), and the coefficients are those of a regression over items in which each counts
by

.. math:: W_i = M_i / (1 + \tau^2 M_i)

with M the purchases expected of it: many purchases of one item are no more than one item. The variance is that which
makes the weighted squares of what the columns leave as large as their degrees of freedom.

References
----------
Breslow and Clayton (1993), Approximate inference in generalized linear mixed models, JASA 88; Paule and Mandel (1982),
Consensus values and weighting factors, Journal of Research of the NBS 87.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from whyrank.estimators.choice import ChoiceRows
from whyrank.estimators.effects import Effect, blocked_effect

__all__ = ["WorthFit", "fit_with_worth"]

Floats = npt.NDArray[np.float64]

STEPS = 200
TOLERANCE = 1e-5
"""Largest change of a utility at which a fit is done."""

RIDGE = 1e-6
DETERMINED = 1e-6
"""Share of a column that the others must leave over."""


@dataclass(frozen=True)
class WorthFit:
    """A fitted conditional logit with worths of items.

    Attributes
    ----------
    rows : the choice sets.
    columns : item columns, shape (items, p), less their mean over items weighted by W.
    beta : coefficients, shape (p,).
    worth, tau2 : of each item, and their variance.
    mass : purchases expected of each item (M), shape (items,).
    probability : of each alternative, shape (rows,).
    information : X'WX, with the penalty.
    """

    rows: ChoiceRows
    columns: Floats
    beta: Floats
    worth: Floats
    tau2: float
    mass: Floats
    probability: Floats
    information: Floats

    @cached_property
    def covariance(self) -> Floats:
        """Inverse of the information."""
        return np.asarray(np.linalg.inv(self.information))

    @cached_property
    def shrunk(self) -> Floats:
        """What many purchases of an item count for, 1 / (1 + tau² M), shape (items,)."""
        return np.asarray(1.0 / (1.0 + self.tau2 * self.mass))

    @cached_property
    def leverage(self) -> Floats:
        """How much of each item the columns fit by themselves, shape (items,)."""
        own = np.einsum("ij,jk,ik->i", self.columns, self.covariance, self.columns)
        return np.asarray(np.clip(self.mass * self.shrunk * own, 0.0, 0.9), np.float64)

    def left(self, column: int) -> float:
        """Return the share of one column that the others leave over."""
        total, own = float(self.information[column, column]), float(self.covariance[column, column])
        return min(1.0 / (total * own), 1.0) if total > 0 and own > 0 else 0.0

    def by_item(self, column: int) -> tuple[Floats, Floats, Floats]:
        """Return each item's residual cause, its weight, and its weighted excess of purchases without the effect."""
        part = self.columns @ self.covariance[:, column] / float(self.covariance[column, column])
        weight = self.mass * self.shrunk
        bought = np.bincount(self.rows.items[:, 0], minlength=self.rows.n_items)
        excess = (bought - self.mass + self.mass * self.worth) * self.shrunk
        return part, weight, excess + float(self.beta[column]) * weight * part

    def effect(self, column: int, unit: float = 1.0) -> Effect:
        r"""Return one coefficient, as an effect per `unit` of the column, with its influence on every row.

        .. math:: \psi_{pi} \propto \hat x_i \, ((d - P)_{pi} + \xi_i P_{pi}) / (1 + \tau^2 M_i)

        with x-hat what the other columns leave of the column; inflated by each item's leverage (as HC2 does).
        """
        n, left = len(self.probability), self.left(column)
        if left < DETERMINED:
            return blocked_effect(n, "conditional logit", left, "determined")
        own = float(self.covariance[column, column])
        item = self.rows.item_of_row
        part = (self.columns @ self.covariance[:, column])[item]
        root = np.sqrt(np.maximum(self.probability, 1e-12) * self.shrunk[item])
        score = (self.rows.bought - self.probability + self.worth[item] * self.probability) * self.shrunk[item]
        theta = float(self.beta[column]) / unit
        t = root * part / own * unit
        return Effect(
            theta,
            n * part * score / np.sqrt(1.0 - self.leverage[item]) / unit,
            n * part * root / unit,
            t,
            theta * t + score / root,
            None,
            left,
            "all rows",
            "conditional logit",
        )


def fit_with_worth(rows: ChoiceRows, columns: Floats) -> WorthFit:
    """Fit by quasi-Newton steps on coefficients and worths together.

    Within a step the choice sets' denominators are held fixed, as if purchases of items were counts: choice sets of
    twenty and more make that a good guide, and the gradient is exact.

    Parameters
    ----------
    rows : the choice sets.
    columns : item columns, shape (items, p), about standardised.
    """
    seen = np.bincount(rows.item_of_row, minlength=rows.n_items) > 0
    bought = np.bincount(rows.items[:, 0], minlength=rows.n_items).astype(np.float64)
    p, ridge = columns.shape[1], RIDGE * np.eye(columns.shape[1])
    beta, worth, tau2 = np.zeros(p), np.zeros(rows.n_items), 0.1
    utility = np.zeros(rows.n_items)
    for _ in range(STEPS):
        mass, probability = _expected(rows, utility)
        shrunk = 1.0 / (1.0 + tau2 * mass)
        weight = mass * shrunk
        centred = columns - weight @ columns / max(float(weight.sum()), 1e-300)
        information = centred.T @ (weight[:, None] * centred) + ridge
        rest = bought - mass
        step = np.linalg.solve(information, centred.T @ ((rest + mass * worth) * shrunk) - RIDGE * beta)
        move = (rest - mass * (centred @ step) - worth / tau2) / (mass + 1.0 / tau2)
        move = np.where(seen, move, 0.0)
        size = min(1.0, 2.0 / max(float(np.abs(centred @ step + move).max()), 1e-300))
        beta, worth = beta + size * step, worth + size * move
        worth = np.where(seen, worth - float(weight @ worth) / max(float(weight.sum()), 1e-300), 0.0)
        before, utility = utility, columns @ beta + worth
        change = utility - before
        fresh = _variance(worth[seen], mass[seen], tau2, p)
        settled = abs(fresh - tau2) <= 1e-3 * tau2 or fresh <= 2e-4
        tau2 = fresh
        if settled and float(np.ptp(change[seen])) < TOLERANCE:
            break
    mass, probability = _expected(rows, utility)
    weight = mass / (1.0 + tau2 * mass)
    centred = columns - weight @ columns / max(float(weight.sum()), 1e-300)
    information = centred.T @ (weight[:, None] * centred) + ridge
    return WorthFit(rows, centred, beta, worth, tau2, mass, probability, information)


def _expected(rows: ChoiceRows, utility: Floats) -> tuple[Floats, Floats]:
    """Return the purchases expected of each item, and the probability of every row."""
    starts, of = rows.indptr[:-1], rows.choice_of_row
    odds = np.exp(utility - utility.max())[rows.item_of_row]
    probability = odds / np.add.reduceat(odds, starts)[of]
    mass = np.bincount(rows.item_of_row, weights=probability, minlength=rows.n_items)
    return np.asarray(mass, np.float64), probability


def _variance(worth: Floats, mass: Floats, tau2: float, columns: int) -> float:
    """Return the next guess of the variance of worths: what the columns leave, less sampling noise."""
    left = worth * (1.0 + 1.0 / (tau2 * np.maximum(mass, 1e-9)))
    noise = 1.0 / np.maximum(mass, 1e-9)
    weight = 1.0 / (tau2 + noise)
    over = float(weight @ left**2) - max(len(worth) - columns - 1, 1)
    slope = float((weight**2) @ left**2)
    return float(np.clip(tau2 + over / max(slope, 1e-300), max(tau2 / 3, 1e-4), 3 * tau2))
