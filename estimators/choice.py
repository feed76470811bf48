r"""Effects from purchases alone: a conditional logit over what was bought and what could have been.

.. math:: P(i \mid C_p) = \frac{\exp(x_i'\beta)}{\sum_{j \in C_p} \exp(x_j'\beta)}

with C_p the item bought and its sampled alternatives. Whatever is the same for all of them (the user, the day) cancels.
Items stay in their table: scores, gradient and information are sums over items and sparse products, never an array of
purchases times alternatives times columns.

References
----------
McFadden (1974), Conditional logit analysis of qualitative choice behavior; McFadden (1978), Modelling the choice of
residential location (sampled alternatives).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from whyrank.estimators.effects import Effect

__all__ = ["ChoiceFit", "ChoiceRows", "difference", "fit_choice"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

STEPS = 50
"""Newton steps at most; the penalised likelihood is concave, so a few are enough unless a level was never bought."""

RIDGE = 1e-6
"""Penalty on each standardised column, so that a level that nobody bought has a finite coefficient."""

DETERMINED = 1e-6
"""Share of a column that the others must leave over."""


@dataclass(frozen=True)
class ChoiceRows:
    """Choice sets: the item bought first, then the alternatives.

    Attributes
    ----------
    items : positions of items, shape (n, width); -1 pads shorter sets.
    user : who bought, shape (n,).
    n_items : items of the study.
    """

    items: Codes
    user: Codes
    n_items: int

    @property
    def n(self) -> int:
        """Number of purchases."""
        return len(self.items)

    @cached_property
    def real(self) -> npt.NDArray[np.bool_]:
        """Which places hold an item, shape (n, width)."""
        return np.asarray(self.items >= 0)

    @cached_property
    def item_of_row(self) -> Codes:
        """The item of each alternative, shape (rows,); the order of rows is that of `items`, row by row."""
        return np.asarray(self.items[self.real], np.int32)

    @cached_property
    def user_of_row(self) -> Codes:
        """The user of each alternative, shape (rows,)."""
        return np.asarray(np.broadcast_to(self.user[:, None], self.items.shape)[self.real], np.int32)

    @cached_property
    def choice_of_row(self) -> Codes:
        """The purchase of each alternative, shape (rows,)."""
        return np.repeat(np.arange(self.n, dtype=np.int32), self.real.sum(axis=1))

    @cached_property
    def indptr(self) -> npt.NDArray[np.int64]:
        """Where each purchase's rows begin."""
        return np.concatenate([[0], np.cumsum(self.real.sum(axis=1))])

    @cached_property
    def bought(self) -> Floats:
        """1 on the row of the item bought, shape (rows,)."""
        out = np.zeros(len(self.item_of_row))
        out[self.indptr[:-1]] = 1.0
        return out

    def take(self, mask: npt.NDArray[np.bool_]) -> ChoiceRows:
        """Return the purchases in `mask`."""
        return ChoiceRows(self.items[mask], self.user[mask], self.n_items)


@dataclass(frozen=True)
class ChoiceFit:
    """A fitted conditional logit.

    Attributes
    ----------
    rows : the choice sets.
    columns : item columns, shape (items, p).
    multiplier : what the columns are multiplied with on each purchase, shape (n, q); a column of ones for main effects,
        and one for each numeric modifier.
    beta : coefficients, shape (q * p,), all columns of a multiplier together.
    information : negative Hessian of the log-likelihood there, with the penalty.
    probability : of each alternative, shape (rows,).
    """

    rows: ChoiceRows
    columns: Floats
    multiplier: Floats
    beta: Floats
    information: Floats
    probability: Floats

    @cached_property
    def residual(self) -> Floats:
        """Bought less probability, shape (rows,)."""
        return self.rows.bought - self.probability

    @cached_property
    def covariance(self) -> Floats:
        """Inverse of the information."""
        return np.asarray(np.linalg.inv(self.information))

    @cached_property
    def leverage(self) -> Floats:
        """How much of each item the columns fit by themselves, shape (items,), for a correction like HC3."""
        p = self.columns.shape[1]
        mass = np.bincount(self.rows.item_of_row, weights=self.probability, minlength=self.rows.n_items)
        centred = self.columns - mass @ self.columns / max(mass.sum(), 1e-300)
        own = np.einsum("ij,jk,ik->i", centred, self.covariance[:p, :p], centred)
        return np.asarray(np.clip(mass * own, 0.0, 0.9), np.float64)

    def direction(self, column: int) -> Floats:
        """Return each item's part in one coefficient, shape (items, q)."""
        h = self.covariance[:, column].reshape(self.multiplier.shape[1], -1)
        return np.asarray(self.columns @ h.T)

    def left(self, column: int) -> float:
        """Return the share of one column that the others leave over."""
        total = float(self.information[column, column])
        own = float(self.covariance[column, column])
        return min(1.0 / (total * own), 1.0) if total > 0 and own > 0 else 0.0

    def by_item(self, column: int) -> tuple[Floats, Floats, Floats]:
        """Return each item's residual cause, its expected purchases, and its excess of purchases without the effect."""
        rows, n = self.rows, self.rows.n_items
        part = self.direction(column)[:, 0] / float(self.covariance[column, column])
        mass = np.bincount(rows.item_of_row, weights=self.probability, minlength=n)
        pull = np.bincount(rows.item_of_row, weights=self.residual, minlength=n)
        centred = part[rows.item_of_row]
        mean = np.add.reduceat(centred * self.probability, rows.indptr[:-1])
        centred = (centred - mean[rows.choice_of_row]) * self.probability
        moved = np.bincount(rows.item_of_row, weights=centred, minlength=n)
        return part, mass.astype(np.float64), np.asarray(pull + float(self.beta[column]) * moved, np.float64)

    def effect(self, column: int, unit: float = 1.0) -> Effect:
        r"""Return one coefficient, as an effect per `unit` of the column, with its influence on every row.

        At the maximum the fit is a weighted regression, so the effect has residuals as partialling-out has them:

        .. math:: \tilde t = \sqrt{P}\,\tilde x, \quad \tilde y = \theta \tilde t + (d - P) / \sqrt{P}

        with x-tilde what choice sets and other columns leave of the column. Influence is inflated by the leverage of
        its item (as HC3 does), since many columns fit few items too well.
        """
        left = self.left(column)
        if left < DETERMINED:
            n = len(self.probability)
            none = np.zeros(n)
            return Effect(
                float("nan"), none, none, none, none, None, left, "all rows", "conditional logit", "determined"
            )
        x = self._centred(column)
        n, own = len(x), float(self.covariance[column, column])
        root = np.sqrt(np.maximum(self.probability, 1e-12))
        theta = float(self.beta[column]) / unit
        t = root * x / own * unit
        rest = self.residual / root
        inflated = 1.0 / (1.0 - self.leverage)[self.rows.item_of_row]
        return Effect(
            theta,
            n * x * self.residual * inflated / unit,
            n * x * root / unit,
            t,
            theta * t + rest,
            None,
            left,
            "all rows",
            "conditional logit",
        )

    def _centred(self, column: int) -> Floats:
        """Return the column's part in each row less its mean in the choice set, in units of its variance."""
        part = self.direction(column)[self.rows.item_of_row]
        own = np.einsum("ij,ij->i", part, self.multiplier[self.rows.choice_of_row])
        mean = np.add.reduceat(own * self.probability, self.rows.indptr[:-1])
        return np.asarray(own - mean[self.rows.choice_of_row])


def fit_choice(rows: ChoiceRows, columns: Floats, multiplier: Floats | None = None) -> ChoiceFit:
    """Fit a conditional logit by Newton's method.

    Parameters
    ----------
    rows : the choice sets.
    columns : item columns, shape (items, p), about standardised.
    multiplier : shape (n, q); None: main effects only.
    """
    z = np.ones((rows.n, 1)) if multiplier is None else multiplier
    p, q = columns.shape[1], z.shape[1]
    beta = np.zeros(p * q)
    penalty = np.full(p * q, RIDGE)
    value, probability = _likelihood(rows, columns, z, beta)
    value -= 0.5 * float(penalty @ beta**2)
    for _ in range(STEPS):
        gradient, information = _derivatives(rows, columns, z, probability)
        gradient -= penalty * beta
        information[np.diag_indices(p * q)] += penalty
        step = np.linalg.solve(information, gradient)
        if float(gradient @ step) < 1e-10:
            break
        for size in (1.0, 0.5, 0.25, 0.1, 0.01):
            trial = beta + size * step
            new, there = _likelihood(rows, columns, z, trial)
            new -= 0.5 * float(penalty @ trial**2)
            if new >= value:
                break
        beta, value, probability = trial, new, there
    return ChoiceFit(rows, columns, z, beta, information, probability)


def _likelihood(rows: ChoiceRows, columns: Floats, z: Floats, beta: Floats) -> tuple[float, Floats]:
    """Return the log-likelihood and the probability of every row."""
    by_item = columns @ beta.reshape(z.shape[1], -1).T
    utility = by_item[rows.item_of_row, 0] * z[rows.choice_of_row, 0]
    for k in range(1, z.shape[1]):
        utility += by_item[rows.item_of_row, k] * z[rows.choice_of_row, k]
    starts, of = rows.indptr[:-1], rows.choice_of_row
    utility -= np.maximum.reduceat(utility, starts)[of]
    odds = np.exp(utility)
    total = np.add.reduceat(odds, starts)
    value = float(utility[starts].sum() - np.log(total).sum())
    return value, odds / total[of]


def _derivatives(rows: ChoiceRows, columns: Floats, z: Floats, probability: Floats) -> tuple[Floats, Floats]:
    """Return the gradient and the information of the log-likelihood."""
    p, q = columns.shape[1], z.shape[1]
    shape = (rows.n, rows.n_items)
    met = sparse.csr_matrix((probability, rows.item_of_row, rows.indptr), shape=shape)
    mean = np.asarray(met @ columns)
    residual = rows.bought - probability
    gradient = np.zeros(p * q)
    information = np.zeros((p * q, p * q))
    places = [slice(k * p, (k + 1) * p) for k in range(q)]
    for a in range(q):
        of_a = z[:, a]
        sums = np.bincount(rows.item_of_row, weights=residual * of_a[rows.choice_of_row], minlength=rows.n_items)
        gradient[places[a]] = columns.T @ sums
        for b in range(a, q):
            w = of_a * z[:, b]
            mass = np.asarray(met.T @ w)
            block = columns.T @ (mass[:, None] * columns) - mean.T @ (w[:, None] * mean)
            information[places[a], places[b]] = block
            information[places[b], places[a]] = block.T
    return gradient, information


def difference(high: Effect, low: Effect) -> Effect:
    """Return one effect less another, estimated on other purchases; rows of `high` first."""
    if high.blocked or low.blocked:
        return high if high.blocked else low
    n = len(high.influence) + len(low.influence)
    up, down = n / len(high.influence), n / len(low.influence)
    return Effect(
        high.estimate - low.estimate,
        np.concatenate([up * high.influence, -down * low.influence]),
        np.concatenate([up * high.leverage, -down * low.leverage]),
        np.concatenate([high.t_residual, low.t_residual]),
        np.concatenate([high.y_residual, low.y_residual]),
        None,
        min(high.overlap, low.overlap),
        "all rows",
        "conditional logit",
    )
