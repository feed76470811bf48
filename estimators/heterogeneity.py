r"""Is the heterogeneity real? Predicted differences between users against what is estimated for users not learned from.

Users are dealt into folds one after the other, and each fold is predicted from the folds before it (Wager 2024): so the
predictions are fixed when their fold is looked at, and the usual standard errors hold, as they don't when folds are
learned from and judged on in turns. Where items are a sample too, predictions come from rows of other items.

With c a row's prediction, centred within its fold, v the rank of its prediction there (0 the highest, 1 the lowest),
m and w moment and weight of the scores:

.. math:: \text{calibration} = \frac{\sum c (m - w\hat\theta)}{\sum w c^2}, \quad
    \text{AUTOC} = \frac{\sum (-\ln v - 1)\, m}{\sum w}, \quad \text{Qini} = \frac{\sum (1/2 - v)\, m}{\sum w}

AUTOC is the area under TOC(q), by how much the effect among the share q with the highest predictions exceeds that of
all; Qini is the area under q·TOC(q). Without heterogeneity all three are about zero.

References
----------
Chernozhukov, Demirer, Duflo and Fernandez-Val (2018), NBER 24678 (best linear predictor, group averages);
Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), JASA 120 (rank-weighted average effects);
Wager (2024), Sequential validation of treatment heterogeneity, arXiv 2405.05534.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.estimators.clusters import t_interval
from whyrank.estimators.held_out import Split, split_rows
from whyrank.estimators.varying import Learner, Scores, learn_best

__all__ = ["Group", "Heterogeneity", "Statistic", "heterogeneity"]

Floats = npt.NDArray[np.float64]

FIRST_SHARE = 1 / 3
"""Share of the users that are learned from before anything is predicted."""

LATER_FOLDS = 4
"""Folds that the other users are dealt into."""

GROUPS = 5
"""Groups of users by predicted effect."""

TOC_SHARES = tuple(round(0.05 * k, 2) for k in range(1, 21))
"""Shares of users at which the curve of the targeting operator characteristic is given."""


@dataclass(frozen=True)
class Statistic:
    """A statistic with its clustered standard error and 95 % interval; `p_value` is one-sided: is it above 0?"""

    estimate: float
    se: float
    ci_low: float
    ci_high: float
    p_value: float


@dataclass(frozen=True)
class Group:
    """Users between two ranks of the predicted effect.

    Attributes
    ----------
    group : 1 for the lowest predictions.
    share : the group's share of the weight of the rows that were predicted.
    predicted : mean prediction.
    effect, se, ci_low, ci_high : what is estimated in it, from the scores.
    """

    group: int
    share: float
    predicted: float
    effect: float
    se: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Heterogeneity:
    """What the test found.

    Attributes
    ----------
    calibration : slope of estimated on predicted differences: 1 if they are as large as predicted, 0 if there are none.
    groups : average effects by predicted effect, lowest first.
    top_less_bottom : effect in the highest group less that in the lowest.
    autoc, qini : areas under the curve of `toc`, and under it times the share.
    toc : (share of users with the highest predictions, effect among them less that of all, its standard error).
    users : users that were predicted.
    """

    calibration: Statistic
    groups: tuple[Group, ...]
    top_less_bottom: Statistic
    autoc: Statistic
    qini: Statistic
    toc: tuple[tuple[float, float, float], ...]
    users: int

    @property
    def p_value(self) -> float:
        """P-value of the calibration: how probable so good a prediction is if the effect is the same for all."""
        return self.calibration.p_value

    @property
    def gates(self) -> pd.DataFrame:
        """The groups as a table, a row each."""
        return pd.DataFrame([asdict(group) for group in self.groups], columns=[f.name for f in fields(Group)])

    @property
    def curve(self) -> pd.DataFrame:
        """The curve as a table: `share`, `gain`, `se`."""
        return pd.DataFrame(self.toc, columns=["share", "gain", "se"])


def heterogeneity(
    scores: Scores, X: Floats, rng: np.random.Generator, *, learner: Learner = learn_best
) -> Heterogeneity:
    """Test whether predicted differences between users' effects are found again in users not learned from.

    Parameters
    ----------
    scores : rows of the edge.
    X : columns of every user, shape (n_users, p).
    learner : learns the predictions; by default linear or a forest, whichever predicts better what it learns from.
    """
    split = split_rows(scores, X, rng, users=_one_after_the_other(scores, rng))
    by_user = split.predict(learner, rng, sequential=True)
    return _Tested(split, by_user).result()


def _one_after_the_other(scores: Scores, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Deal users with rows into a first fold of FIRST_SHARE and LATER_FOLDS others of equal size."""
    folds = np.zeros(scores.n_users, np.int8)
    present = np.flatnonzero(scores.per_user(scores.weight) > 0)
    place = rng.permutation(len(present)) / max(len(present), 1)
    later = np.floor((place - FIRST_SHARE) / (1 - FIRST_SHARE) * LATER_FOLDS).astype(np.int8)
    folds[present] = np.where(place < FIRST_SHARE, 0, later + 1)
    return folds


class _Tested:
    """The rows that were predicted, with their centred predictions and ranks."""

    def __init__(self, split: Split, by_user: Floats) -> None:
        self.scores = split.scores
        self.in_turns = split.item_folds > 1
        weight = split.sums[1]
        centred, start, end = (np.zeros_like(by_user) for _ in range(3))
        for users, j in ((split.users == k, j) for _, k, j in split.cells(sequential=True)):
            inside = users & (weight[:, j] > 0) & np.isfinite(by_user[:, j])
            if inside.any():
                w, p = weight[inside, j], by_user[inside, j]
                centred[inside, j] = p - np.average(p, weights=w)
                start[inside, j], end[inside, j] = _ranks(p, w)
        tested = split.of_rows((end > 0).astype(np.float64)) > 0
        self.m = np.where(tested, self.scores.moment, 0.0)
        self.w = np.where(tested, self.scores.weight, 0.0)
        self.centred, self.start, self.end = (split.of_rows(values) for values in (centred, start, end))
        self.predicted = split.of_rows(np.nan_to_num(by_user))
        self.users = int(np.sum((end > 0).any(axis=1)))
        self.total = float(self.w.sum())
        self.average = float(self.m.sum()) / self.total if self.total > 0 else float("nan")
        self.rest = self.m - self.w * np.nan_to_num(self.average)

    def result(self) -> Heterogeneity:
        """Return every statistic."""
        start, end = self.start, np.maximum(self.end, 1e-300)
        width = np.maximum(end - start, 1e-300)
        logs = -(end * np.log(end) - start * np.log(np.maximum(start, 1e-300))) / width
        middle = (start + self.end) / 2
        groups = self._groups(np.minimum((GROUPS * (1 - middle)).astype(int), GROUPS - 1))
        return Heterogeneity(
            calibration=self._calibration(),
            groups=tuple(group for group, _ in groups),
            top_less_bottom=self._difference(groups),
            autoc=self._ranked(logs),
            qini=self._ranked(0.5 - middle),
            toc=tuple(self._toc(share) for share in TOC_SHARES),
            users=self.users,
        )

    def _calibration(self) -> Statistic:
        """Slope of the best linear predictor on the centred prediction."""
        c = self.centred
        spread = float(np.sum(self.w * c**2))
        if not spread > 1e-12 * max(float(np.sum(self.w * self.predicted**2)), 1e-300):
            return _NOTHING
        slope = float(np.sum(c * self.rest)) / spread
        return self._statistic(slope, c * (self.rest - slope * self.w * c) / spread)

    def _ranked(self, weight: Floats) -> Statistic:
        """A rank-weighted average effect; its standard error takes the ranks as given."""
        if not self._ranks_differ:
            return _NOTHING
        value = float(np.sum(weight * self.rest)) / self.total
        return self._statistic(value, (weight * self.rest - value * self.w) / self.total)

    @property
    def _ranks_differ(self) -> bool:
        return bool(np.any((self.w > 0) & (self.end - self.start < 1 - 1e-9)))

    def _toc(self, share: float) -> tuple[float, float, float]:
        inside = np.clip((share - self.start) / np.maximum(self.end - self.start, 1e-300), 0.0, 1.0)
        mass = float(np.sum(self.w * inside))
        if not mass > 0:
            return share, float("nan"), float("nan")
        effect = float(np.sum(self.m * inside)) / mass
        influence = inside * (self.m - self.w * effect) / mass - self.rest / self.total
        return share, effect - self.average, self._se(influence)

    def _groups(self, number: npt.NDArray[np.int64]) -> list[tuple[Group, Floats]]:
        out: list[tuple[Group, Floats]] = []
        for k in np.unique(number[self.w > 0]):
            inside = (number == k) & (self.w > 0)
            mass = float(self.w[inside].sum())
            effect = float(self.m[inside].sum()) / mass
            influence = np.where(inside, self.m - self.w * effect, 0.0) / mass
            se = self._se(influence)
            low, high, _ = t_interval(effect, se, self.scores.dof)
            predicted = float(np.average(self.predicted[inside], weights=self.w[inside]))
            out.append((Group(len(out) + 1, mass / self.total, predicted, effect, se, low, high), influence))
        return out

    def _difference(self, groups: list[tuple[Group, Floats]]) -> Statistic:
        if len(groups) < 2:
            return _NOTHING
        (bottom, low), (top, high) = groups[0], groups[-1]
        return self._statistic(top.effect - bottom.effect, high - low)

    def _se(self, influence: Floats) -> float:
        """Standard error of a sum of influence values over the rows that were predicted.

        Folds of items are learned from and judged on in turns: what items share enters each pair of folds twice, which
        clustering can't see. At most it doubles the variance, where all of it is the items'.
        """
        scaled = influence * len(influence)
        se = self.scores.se_of(scaled)
        if not self.in_turns or not se > 0 or self.scores.pair is None:
            return se
        shared = self.scores.way_variance("items", scaled) - self.scores.way_variance("pair", scaled)
        return se * float(np.sqrt(1.0 + min(max(shared / se**2, 0.0), 1.0)))

    def _statistic(self, estimate: float, influence: Floats) -> Statistic:
        se = self._se(influence)
        low, high, p = t_interval(estimate, se, self.scores.dof)
        return Statistic(estimate, se, low, high, p / 2 if estimate > 0 else 1 - p / 2)


_NOTHING = Statistic(*(float("nan"),) * 5)
"""Where all predictions are the same there is nothing to test."""


def _ranks(predicted: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return where each prediction's share of the weight starts and ends, the highest at 0; equal ones share theirs."""
    values, place = np.unique(-predicted, return_inverse=True)
    mass = np.bincount(place, weights=weight, minlength=len(values)).astype(np.float64)
    end = np.cumsum(mass) / mass.sum()
    return np.concatenate([[0.0], end[:-1]])[place], end[place]
