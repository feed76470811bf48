"""The linear part of nuisances: ridge and logistic regressions, with random intercepts on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whyrank.estimators.clusters import cluster_sums
from whyrank.estimators.design import Codes, Columns, Floats
from whyrank.estimators.folded import Folded, each_fold

__all__ = ["Scores", "expit", "fit_linear", "fit_logistic"]


@dataclass(frozen=True)
class Scores:
    """Scores of one model a fold.

    Attributes
    ----------
    fitted : out-of-fold scores, shape (n,).
    on_sample : scores of each fold's model on the rows of the sample, shape (folds, rows of the sample).
    coefficients : shape (folds, width + 1), intercept first; 0 for columns that weren't given.
    """

    fitted: Floats
    on_sample: Floats
    coefficients: Floats


def expit(score: Floats) -> Floats:
    """Return the logistic function of scores, kept strictly within 0 and 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(score, -30, 30))), np.float64)


def fit_linear(
    target: Floats,
    folded: Folded,
    columns: Columns,
    penalty: Floats,
    intercepts: Sequence[Codes] = (),
    *,
    sample: bool = True,
) -> Scores:
    """Ridge from per-fold Gram matrices: every fold's model costs one small solve; `sample`: scores of it too."""
    w = folded.weights
    weighted = target if w is None else target * w
    moments = np.stack(each_fold(lambda k: folded.design.moment(weighted, folded.members[k]), folded.count))
    place = np.concatenate([[0], 1 + columns])
    ridge = np.diag(np.concatenate([[0.0], penalty]))
    gram, moment = folded.grams.sum(0), moments.sum(0)
    coefficients = np.zeros((folded.count, folded.design.width + 1))
    for k in range(folded.count):
        left = (gram - folded.grams[k])[np.ix_(place, place)]
        coefficients[k, place] = _solve(left + ridge, (moment - moments[k])[place])
    if not intercepts:
        fitted = coefficients[folded.folds, 0] + folded.design.scores(coefficients[:, 1:], folded.folds)
        at = np.empty((folded.count, 0))
        if sample:
            at = coefficients[:, :1] + coefficients[:, 1:].astype(np.float32) @ folded.sample_rows.T
        return Scores(fitted, at, coefficients)
    fitted, at = np.empty(len(target)), np.empty((folded.count, len(folded.sample)))

    def one(k: int) -> None:
        score = coefficients[k, 0] + folded.design.score(coefficients[k, 1:])
        train = (folded.folds != k).astype(np.float64)
        weight = train if w is None else train * w
        variance = float(np.average((target - score) ** 2, weights=weight)) or 1.0
        for codes in intercepts:
            seen = cluster_sums(weight, codes) / variance
            pull = cluster_sums(weight * (target - score), codes) / variance
            score += _shrunken(pull, seen)[codes]
        fitted[folded.members[k]] = score[folded.members[k]]
        at[k] = score[folded.sample]

    each_fold(one, folded.count)
    return Scores(fitted, at, coefficients)


def fit_logistic(
    target: Floats, folded: Folded, columns: Columns, penalty: Floats, intercepts: Sequence[Codes]
) -> Scores:
    """Penalised logistic regression by Newton steps, on the sample."""
    sample, design, folds = folded.sample, folded.design, folded.folds
    coefficients = np.zeros((folded.count, design.width + 1))
    place = np.concatenate([[0], 1 + columns])
    fitted, at = np.empty(len(target)), np.empty((folded.count, len(sample)))
    ridge = np.concatenate([[1e-6], penalty * len(sample) / len(target)])
    X = np.column_stack([np.ones(len(sample)), folded.sample_rows[:, columns].astype(np.float64)])
    y = target[sample]
    w = np.ones(len(sample)) if folded.weights is None else folded.weights[sample]
    rate = float(np.clip(np.average(y, weights=w), 1e-4, 1 - 1e-4))
    origin = np.concatenate([[np.log(rate / (1 - rate))], np.zeros(len(columns))])
    start, hessian = each_fold(lambda _: _newton(X, y, w, ridge, origin), 1)[0]  # near every fold's own
    floor = 1e-9 * float(np.trace(hessian)) / len(hessian) * np.eye(len(hessian))

    def one(k: int) -> None:
        inside = folds[sample] != k
        curved = (hessian - np.diag(ridge)) * float(inside.mean()) + np.diag(ridge) + floor
        b = _chord(X, y, w * inside, ridge, start, curved)
        coefficients[k, place] = b
        if not intercepts:
            at[k] = X @ b
            return
        score = b[0] + design.score(coefficients[k, 1:])
        train = (folds != k).astype(np.float64)
        weight = train if folded.weights is None else train * folded.weights
        for codes in intercepts:
            p = expit(score)
            seen = cluster_sums(weight * p * (1 - p), codes)
            pull = cluster_sums(weight * (target - p), codes)
            score += np.clip(_shrunken(pull, seen), -4, 4)[codes]
        fitted[folded.members[k]] = score[folded.members[k]]
        at[k] = score[sample]

    each_fold(one, folded.count)
    if not intercepts:
        fitted = coefficients[folds, 0] + design.scores(coefficients[:, 1:], folds)
    return Scores(fitted, at, coefficients)


def _newton(X: Floats, y: Floats, w: Floats, penalty: Floats, start: Floats, steps: int = 12) -> tuple[Floats, Floats]:
    """Minimise the penalised logistic loss from `start`; returns the coefficients and the Hessian near them."""
    b, hessian = start, np.diag(penalty)
    for _ in range(steps):
        p = expit(X @ b)
        hessian = (X * (w * np.maximum(p * (1 - p), 1e-6))[:, None]).T @ X + np.diag(penalty)
        step = _solve(hessian, _downhill(X, y, w, penalty, b, p))
        b = b + np.clip(step, -5, 5)
        if np.max(np.abs(step)) < 1e-4:
            break
    return b, hessian


def _chord(X: Floats, y: Floats, w: Floats, penalty: Floats, start: Floats, hessian: Floats, steps: int = 25) -> Floats:
    """Minimise the same loss with a Hessian that is about right: many cheap steps instead of a few dear ones."""
    b, solve = start, np.linalg.inv(hessian)
    for _ in range(steps):
        step = solve @ _downhill(X, y, w, penalty, b, expit(X @ b))
        if not np.max(np.abs(step)) < 1.0:
            break
        b = b + step
        if np.max(np.abs(step)) < 1e-4:
            return b
    return _newton(X, y, w, penalty, start)[0]


def _downhill(X: Floats, y: Floats, w: Floats, penalty: Floats, b: Floats, p: Floats) -> Floats:
    """Return the negative gradient; the intercept isn't penalised."""
    return np.asarray(X.T @ (w * (y - p)) - penalty * b * (np.arange(len(b)) > 0))


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
    out = np.zeros(len(seen))
    out[known] = pull[known] / (seen[known] + 1.0 / variance)
    return out
