"""Second stages on users, and items, that they haven't seen: which of them predicts best.

Users' folds consist of whole users. Where items are a sample too (scope "items like these"), rows of a fold's items are
kept from what is judged on them: if sixty items appeal to old and young differently, for whatever reason, the same
sixty items will say so of any new user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from whyrank.estimators.folded import make_folds
from whyrank.estimators.varying import (
    MIN_FOREST_USERS,
    Learner,
    Scores,
    SecondStageName,
    UserSums,
    learn_forest,
    learn_linear,
    learn_sparse,
)

__all__ = ["Choice", "Split", "choose", "split_rows"]

Floats = npt.NDArray[np.float64]
Folds = npt.NDArray[np.int8]

USER_FOLDS = 5
"""Folds of whole users that second stages are compared on."""

ITEM_FOLDS = 3
"""Folds of whole items, where items are a sample."""

MIN_ITEMS = 12
"""Items below which their rows aren't split: a fold would hold less than four."""


@dataclass(frozen=True)
class Split:
    """Rows dealt into folds of whole users and, maybe, of whole items.

    Attributes
    ----------
    scores : the rows.
    X : columns of every user, shape (n_users, p).
    users : fold of each user, shape (n_users,).
    items : fold of each row's item, shape (n,); all 0 if items aren't split.
    """

    scores: Scores
    X: Floats
    users: Folds
    items: Folds

    @cached_property
    def item_folds(self) -> int:
        """Number of folds of items; 1 if they aren't split."""
        return int(self.items.max()) + 1

    @cached_property
    def sums(self) -> tuple[Floats, Floats]:
        """Moment and weight by user and fold of items, shape (n_users, item_folds)."""
        cell = self.scores.user.astype(np.int64) * self.item_folds + self.items
        size = self.scores.n_users * self.item_folds
        moment, weight = (
            np.bincount(cell, weights=values, minlength=size).astype(np.float64).reshape(-1, self.item_folds)
            for values in (self.scores.moment, self.scores.weight)
        )
        return moment, weight

    def learn_from(self, users: npt.NDArray[np.bool_], item_fold: int) -> UserSums:
        """Return the sums of the users in a mask over all items but one fold's (all items if they aren't split)."""
        moment, weight = self.sums
        others = np.ones(self.item_folds, bool)
        others[item_fold] = self.item_folds == 1
        return UserSums(moment[users][:, others].sum(axis=1), weight[users][:, others].sum(axis=1))

    def cells(self, *, sequential: bool = False) -> Iterator[tuple[npt.NDArray[np.bool_], int, int]]:
        """Yield (users learned from, fold of users, fold of items) for each cell that is predicted.

        `sequential` learns from users of earlier folds only; the first fold isn't predicted.
        """
        for k in range(int(sequential), int(self.users.max()) + 1):
            earlier = self.users < k if sequential else self.users != k
            for j in range(self.item_folds):
                yield earlier, k, j

    def predict(self, learner: Learner, rng: np.random.Generator, *, sequential: bool = False) -> Floats:
        """Return predictions by models that saw neither the user nor, where split, the item: (n_users, item_folds).

        They are NaN where there was nothing to learn from, as in the first fold if `sequential`.
        """
        out = np.full((self.scores.n_users, self.item_folds), np.nan)
        for users, k, j in self.cells(sequential=sequential):
            sums, mine = self.learn_from(users, j), self.users == k
            if sums.weight.any():
                out[mine, j] = learner(sums, self.X[users], rng)(self.X[mine])
        return out

    def of_rows(self, by_user: Floats) -> Floats:
        """Take such predictions to the rows."""
        return by_user[self.scores.user, self.items]


def split_rows(scores: Scores, X: Floats, rng: np.random.Generator, *, users: Folds | None = None) -> Split:
    """Deal users, and items if standard errors count them, into folds.

    Parameters
    ----------
    scores, X : rows, and columns of every user.
    users : fold of each user; dealt evenly by default.
    """
    if users is None:
        users = make_folds(np.arange(scores.n_users, dtype=np.int32), USER_FOLDS, rng)
    items = np.zeros(len(scores.user), np.int8)
    codes = scores.ways.get("items")
    if codes is not None and len(np.unique(codes)) >= MIN_ITEMS:
        items = make_folds(codes, ITEM_FOLDS, rng)
    return Split(scores, X, users, items)


@dataclass(frozen=True)
class Choice:
    """Which second stage predicts users best that it hasn't seen.

    Attributes
    ----------
    chosen : the simplest one that no other beats by more than one standard error of the difference.
    losses : mean held-out loss of a row by second stage: of (score - theta)², or of (Ỹ - theta·T̃)².
    gains : what each takes off the constant's loss, with its clustered standard error.
    """

    chosen: SecondStageName
    losses: dict[SecondStageName, float]
    gains: dict[SecondStageName, tuple[float, float]]


def choose(scores: Scores, X: Floats, rng: np.random.Generator) -> Choice:
    """Compare constant, sparse, linear and forest by held-out loss; ties go to the simpler.

    A gain within one clustered standard error of itself is a tie (the one-standard-error rule of Breiman et al. 1984).
    """
    split = split_rows(scores, X, rng)
    learners: dict[SecondStageName, Learner] = {"constant": _learn_constant}
    if X.shape[1]:
        learners["sparse"] = learn_sparse
        learners["linear"] = learn_linear
        if int(np.sum(scores.per_user(scores.weight) > 0)) >= MIN_FOREST_USERS:
            learners["forest"] = learn_forest
    rows: dict[SecondStageName, Floats] = {}
    for name, learner in learners.items():
        theta = np.nan_to_num(split.of_rows(split.predict(learner, rng)))
        rows[name] = scores.weight * theta**2 - 2.0 * scores.moment * theta
    counted = max(int(np.sum(scores.weight > 0)), 1)
    losses = {name: (scores.square + float(loss.sum())) / counted for name, loss in rows.items()}
    chosen: SecondStageName = "constant"
    for name in list(rows)[1:]:
        gain, se = _gain(scores, rows[chosen] - rows[name])
        if gain > se:
            chosen = name
    return Choice(chosen, losses, {name: _gain(scores, rows["constant"] - loss) for name, loss in rows.items()})


def _gain(scores: Scores, difference: Floats) -> tuple[float, float]:
    """Return the mean of a difference of row losses and its clustered standard error."""
    mean = float(difference.mean())
    return mean, scores.se_of(difference - mean)


def _learn_constant(sums: UserSums, X: Floats, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    return lambda other: np.full(len(other), sums.mean)
