"""Cross-fitted nuisances: what the adjustment set predicts of an outcome or of a cause, always out of fold.

Every nuisance is a sum of three parts, each fitted on the other folds only:

1. a ridge regression (identity link) or a penalised logistic regression on the design;
2. random intercepts of the clusters that the folds don't split by: a user who buys more than his attributes say, an
   item that is shown more often. They stand for what no column holds;
3. boosted trees (LightGBM) on what is left, kept only as far as they predict better out of fold.

Folds are made of whole clusters of the table in which the cause varies, so that no row is predicted by a model that has
seen its own item (or user, or user-item pair).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import lightgbm
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from whyrank.estimators.clusters import cluster_sums

__all__ = ["Nuisance", "fit_nuisance", "make_folds"]

Floats = npt.NDArray[np.float64]
Design = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]

TREE_ROWS = 40_000
"""Rows a tree ensemble is fitted on: a fixed sample of the training rows, so that cost stops growing with the log."""

LOGIT_ROWS = 30_000
"""Rows a logistic regression is fitted on, likewise."""

MIN_TREE_CLUSTERS = 1_000
"""Trees on a cause need this many clusters to learn from; below it a linear model is the better guess."""

_TREES = {
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "verbosity": -1,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
}
_TREE_COUNT = 50


@dataclass(frozen=True)
class Nuisance:
    """Out-of-fold predictions, and the means to ask the same models about other values of a cause.

    Attributes
    ----------
    fitted : out-of-fold predictions, shape (n,).
    coefficients : linear part, shape (folds, p + 1), intercept first.
    tree_share : share of the trees' correction that was kept (0, 0.5 or 1).
    folds, boosters, correction : fold of each row, one tree ensemble a fold, and what it adds to each row out of fold.
    """

    fitted: Floats
    coefficients: Floats
    tree_share: float
    folds: npt.NDArray[np.int8]
    boosters: tuple[lightgbm.Booster, ...] = ()
    correction: Floats = field(default_factory=lambda: np.zeros(0))

    def at(self, design: Design, columns: npt.NDArray[np.intp], values: npt.NDArray[np.float32]) -> Floats:
        """Predict with `columns` of the design set to `values` in every row (identity link only).

        Parameters
        ----------
        design : the design the nuisance was fitted on, shape (n, p).
        columns, values : positions in it and the value each takes, shape (k,).
        """
        moved = np.flatnonzero((design[:, columns] != values).any(axis=1))  # the others are predicted already
        shift = values[None, :] - design[np.ix_(moved, columns)].astype(np.float64)
        out = self.fitted.copy()
        out[moved] += np.einsum("ij,ij->i", shift, self.coefficients[:, 1 + columns][self.folds[moved]])
        if self.tree_share > 0:

            def one(k: int) -> None:
                rows, booster = moved[self.folds[moved] == k], self.boosters[k]
                part = design[rows]
                part[:, columns] = values
                after = np.asarray(booster.predict(part, raw_score=True, num_threads=1))
                out[rows] += self.tree_share * (after - self.correction[rows])

            _each_fold(one, len(self.boosters))
        return out


def make_folds(codes: Codes, n_folds: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Deal whole clusters into folds of about equal numbers of clusters; returns the fold of each row, shape (n,).

    A single cluster can't be dealt out: then its rows are.
    """
    if codes.min() == codes.max():
        codes = np.arange(len(codes), dtype=np.int32)
    groups = int(codes.max()) + 1
    deal = np.arange(groups) % n_folds
    return rng.permutation(deal).astype(np.int8)[codes]


def fit_nuisance(
    target: Floats,
    design: Design,
    folds: npt.NDArray[np.int8],
    *,
    penalty: Floats,
    intercepts: Sequence[Codes] = (),
    probability: bool = False,
    trees: bool = True,
    rng: np.random.Generator,
) -> Nuisance:
    """Fit one nuisance across folds.

    Parameters
    ----------
    target : what is predicted, shape (n,); 0/1 if `probability`.
    design : columns predicted from, shape (n, p).
    folds : fold of each row.
    penalty : ridge penalty of each column, shape (p,), in rows.
    intercepts : cluster codes that get a random intercept; folds must not be made of these clusters.
    probability : logistic link; predictions lie strictly within 0 and 1.
    trees : whether boosted trees may correct the linear part.
    """
    count = int(folds.max()) + 1
    fit = _fit_logistic if probability else _fit_linear
    base, coefficients = fit(target, design, folds, count, penalty, intercepts, rng)
    if not trees or design.shape[1] == 0:
        return Nuisance(_link(base, probability), coefficients, 0.0, folds)
    correction, boosters = _fit_trees(target, base[0], base[1], design, folds, count, probability, rng)
    share = _tree_share(target, base[0], correction, probability) if boosters else 0.0
    fitted = _link((base[0] + share * correction, base[1]), probability)
    if share == 0:
        return Nuisance(fitted, coefficients, share, folds)
    return Nuisance(fitted, coefficients, share, folds, boosters, correction)


Base = tuple[Floats, Callable[[int, npt.NDArray[np.intp]], Floats]]
"""Out-of-fold linear scores, and a function giving the scores of fold k's model on its training rows."""


T = TypeVar("T")


def _each_fold(work: Callable[[int], T], count: int) -> list[T]:
    """Run one piece of work a fold, each on one thread.

    Threads inside BLAS and OpenMP spin while they wait: on busy cores two of them are many times slower than one, and
    sums depend on how many there are. So they are held to one, and whole folds run side by side.
    """
    with threadpool_limits(limits=1), ThreadPoolExecutor(max_workers=min(count, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, range(count)))


def _link(base: Base, probability: bool) -> Floats:
    return _expit(base[0]) if probability else base[0]


def _expit(score: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(score, -30, 30))), np.float64)


def _fit_linear(
    target: Floats,
    design: Design,
    folds: npt.NDArray[np.int8],
    count: int,
    penalty: Floats,
    intercepts: Sequence[Codes],
    rng: np.random.Generator,
) -> tuple[Base, Floats]:
    """Ridge from per-fold Gram matrices: every fold's model costs one small solve."""
    width = design.shape[1] + 1
    grams, moments = np.zeros((count, width, width)), np.zeros((count, width))
    members = [np.flatnonzero(folds == k) for k in range(count)]

    def gram(k: int) -> None:
        part = np.column_stack([np.ones(len(members[k])), design[members[k]].astype(np.float64)])
        grams[k], moments[k] = part.T @ part, part.T @ target[members[k]]

    _each_fold(gram, count)
    ridge = np.diag(np.concatenate([[0.0], penalty]))
    coefficients = np.stack(
        [_solve(grams.sum(0) - grams[k] + ridge, moments.sum(0) - moments[k]) for k in range(count)]
    )
    linear = np.empty((count, len(target))) if intercepts else None
    score = np.empty(len(target))

    def one(k: int) -> None:
        rows, b = members[k], coefficients[k]
        if linear is None:
            score[rows] = b[0] + design[rows] @ b[1:].astype(np.float32)
            return
        linear[k] = b[0] + design @ b[1:].astype(np.float32)
        train = folds != k
        residual = np.where(train, target - linear[k], 0.0)
        variance = float(residual[train].var()) or 1.0
        for codes in intercepts:
            seen = cluster_sums(train.astype(np.float64), codes) / variance
            pull = cluster_sums(residual, codes) / variance
            linear[k] += _shrunken(pull, seen)[codes]
            residual = np.where(train, target - linear[k], 0.0)
        score[rows] = linear[k][rows]

    _each_fold(one, count)

    def on(k: int, rows: npt.NDArray[np.intp]) -> Floats:
        if linear is not None:
            return np.asarray(linear[k][rows], np.float64)
        return np.asarray(coefficients[k][0] + design[rows] @ coefficients[k][1:].astype(np.float32))

    return (score, on), coefficients


def _fit_logistic(
    target: Floats,
    design: Design,
    folds: npt.NDArray[np.int8],
    count: int,
    penalty: Floats,
    intercepts: Sequence[Codes],
    rng: np.random.Generator,
) -> tuple[Base, Floats]:
    """Penalised logistic regression by Newton steps, on a fixed sample of the training rows."""
    coefficients = np.zeros((count, design.shape[1] + 1))
    score = np.empty(len(target))
    linear = np.empty((count, len(target)))
    sample = _sample(np.ones(len(target), bool), LOGIT_ROWS * count // max(count - 1, 1), rng)
    ridge = np.concatenate([[1e-6], penalty * len(sample) / len(target)])
    X, y = np.column_stack([np.ones(len(sample)), design[sample].astype(np.float64)]), target[sample]
    rate = float(np.clip(y.mean(), 1e-4, 1 - 1e-4))
    origin = np.concatenate([[np.log(rate / (1 - rate))], np.zeros(design.shape[1])])
    start, hessian = _each_fold(lambda _: _newton(X, y, ridge, origin), 1)[0]  # near every fold's own
    floor = 1e-9 * float(np.trace(hessian)) / len(hessian) * np.eye(len(hessian))

    def one(k: int) -> None:
        train_sample = folds[sample] != k
        share = float(train_sample.mean())
        curved = (hessian - np.diag(ridge)) * share + np.diag(ridge) + floor
        b = _chord(X[train_sample], y[train_sample], ridge, start, curved)
        coefficients[k] = b
        linear[k] = b[0] + design @ b[1:].astype(np.float32)
        train = folds != k
        for codes in intercepts:
            p = _expit(linear[k])
            seen = cluster_sums(np.where(train, p * (1 - p), 0.0), codes)
            pull = cluster_sums(np.where(train, target - p, 0.0), codes)
            linear[k] += np.clip(_shrunken(pull, seen), -4, 4)[codes]
        held = folds == k
        score[held] = linear[k][held]

    _each_fold(one, count)
    return (score, lambda k, rows: linear[k][rows]), coefficients


def _newton(X: Floats, y: Floats, penalty: Floats, start: Floats, steps: int = 12) -> tuple[Floats, Floats]:
    """Minimise the penalised logistic loss from `start`; returns the coefficients and the Hessian near them."""
    b, hessian = start, np.diag(penalty)
    for _ in range(steps):
        p = _expit(X @ b)
        hessian = (X * np.maximum(p * (1 - p), 1e-6)[:, None]).T @ X + np.diag(penalty)
        step = _solve(hessian, _downhill(X, y, penalty, b, p))
        b = b + np.clip(step, -5, 5)
        if np.max(np.abs(step)) < 1e-4:
            break
    return b, hessian


def _chord(X: Floats, y: Floats, penalty: Floats, start: Floats, hessian: Floats, steps: int = 25) -> Floats:
    """Minimise the same loss with a Hessian that is about right: many cheap steps instead of a few dear ones."""
    b, solve = start, np.linalg.inv(hessian)
    for _ in range(steps):
        step = solve @ _downhill(X, y, penalty, b, _expit(X @ b))
        if not np.max(np.abs(step)) < 1.0:
            break
        b = b + step
        if np.max(np.abs(step)) < 1e-5:
            return b
    return _newton(X, y, penalty, start)[0]


def _downhill(X: Floats, y: Floats, penalty: Floats, b: Floats, p: Floats) -> Floats:
    """Return the negative gradient; the intercept isn't penalised."""
    return np.asarray(X.T @ (y - p) - penalty * b * (np.arange(len(b)) > 0))


def _solve(gram: Floats, moment: Floats) -> Floats:
    """Solve with a floor on the diagonal, so that collinear or empty columns get a finite, minimal coefficient."""
    floor = 1e-9 * max(float(np.trace(gram)) / len(gram), 1e-12)
    return np.asarray(np.linalg.solve(gram + floor * np.eye(len(gram)), moment))


def _shrunken(pull: Floats, seen: Floats) -> Floats:
    """Random intercepts from scores and information, shrunk by their variance (method of moments)."""
    known = seen > 1e-9
    if known.sum() < 2:
        return np.zeros(len(seen))
    raw = pull[known] / seen[known]
    weight = np.minimum(seen[known], np.median(seen[known]) * 10) ** 2
    variance = float(np.sum(weight * (raw**2 - 1.0 / seen[known])) / np.sum(weight))
    if variance <= 0:
        return np.zeros(len(seen))
    return np.asarray(np.where(known, pull / (seen + 1.0 / variance), 0.0))


def _sample(mask: npt.NDArray[np.bool_], size: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    rows = np.flatnonzero(mask)
    return rows if len(rows) <= size else np.sort(rng.choice(rows, size, replace=False))


def _fit_trees(
    target: Floats,
    score: Floats,
    on: Callable[[int, npt.NDArray[np.intp]], Floats],
    design: Design,
    folds: npt.NDArray[np.int8],
    count: int,
    probability: bool,
    rng: np.random.Generator,
) -> tuple[Floats, tuple[lightgbm.Booster, ...]]:
    """Boost on top of the linear scores; returns the out-of-fold correction and one booster a fold.

    The first fold is tried alone: where trees don't help there, the other folds are spared, and there are no boosters.
    """
    correction = np.zeros(len(target))
    params = _TREES | {"objective": "binary" if probability else "regression", "seed": int(rng.integers(2**31))}
    sample = _sample(np.ones(len(target), bool), TREE_ROWS * count // max(count - 1, 1), rng)

    def one(k: int) -> lightgbm.Booster:
        rows = sample[folds[sample] != k]
        start = on(k, rows)
        label, init = (target[rows], start) if probability else (target[rows] - start, None)
        table = lightgbm.Dataset(design[rows], label=label, init_score=init, params=params, free_raw_data=True)
        booster = lightgbm.train(params | {"boost_from_average": False}, table, num_boost_round=_TREE_COUNT)
        held = np.flatnonzero(folds == k)
        correction[held] = np.asarray(booster.predict(design[held], raw_score=True, num_threads=1))
        return booster

    first = _each_fold(one, 1)[0]
    held = folds == 0
    if _tree_share(target[held], score[held], correction[held], probability) == 0:
        return correction, ()
    return correction, (first, *_each_fold(lambda k: one(k + 1), count - 1))


def _tree_share(target: Floats, score: Floats, correction: Floats, probability: bool) -> float:
    """Choose how much of the trees' correction to keep, by out-of-fold loss; a gain below one part in 10⁴ is none."""

    def loss(share: float) -> float:
        s = score + share * correction
        if probability:
            s = np.clip(s, -30, 30)
            return float(np.mean(np.logaddexp(0.0, s) - target * s))
        return float(np.mean((target - s) ** 2))

    losses = {share: loss(share) for share in (0.0, 0.5, 1.0)}
    best = min(losses, key=lambda share: losses[share])
    return best if losses[best] < losses[0.0] * (1 - 1e-4) else 0.0
