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

from collections.abc import Sequence
from dataclasses import dataclass, field

import lightgbm
import numpy as np
import numpy.typing as npt

from whyrank.estimators.design import Codes, Columns, Floats
from whyrank.estimators.folded import TREES, Folded, each_fold
from whyrank.estimators.linear import Scores, expit, fit_linear, fit_logistic

__all__ = ["MIN_TREE_CLUSTERS", "Nuisance", "fit_nuisance"]

MIN_TREE_CLUSTERS = 1_000
"""Trees on a cause need this many clusters to learn from; below it a linear model is the better guess."""

_TREE_COUNT = 50
"""Trees for `_TREE_ROWS` rows and more; fewer rows afford, and need, up to three times as many."""

_TREE_ROWS = 20_000


@dataclass(frozen=True)
class Nuisance:
    """Out-of-fold predictions, and the means to ask the same models about other values of a cause.

    Attributes
    ----------
    fitted : out-of-fold predictions, shape (n,).
    coefficients : linear part, shape (folds, width + 1), intercept first; 0 for columns that it wasn't fitted on.
    tree_share : share of the trees' correction that was kept (0, 0.5 or 1).
    folded : the rows.
    boosters, correction : one tree ensemble a fold, and what it adds to each row out of fold.
    """

    fitted: Floats
    coefficients: Floats
    tree_share: float
    folded: Folded
    boosters: tuple[lightgbm.Booster, ...] = ()
    correction: Floats = field(default_factory=lambda: np.zeros(0))

    def at(self, columns: Columns, values: npt.NDArray[np.float32]) -> Floats:
        """Predict with `columns` of the design set to `values` in every row (identity link only).

        Parameters
        ----------
        columns, values : positions in the design and the value each takes, shape (k,).
        """
        out, folded = self.fitted.copy(), self.folded

        def one(k: int) -> None:
            for rows in folded.chunks(folded.members[k]):
                before = folded.design.rows(rows, columns)
                differs = (before != values).any(axis=1)  # the others are predicted already
                moved = rows[differs]
                shift = values[None, :].astype(np.float64) - before[differs]
                out[moved] += shift @ self.coefficients[k, 1 + columns]
                if self.tree_share > 0 and len(moved):
                    part = folded.rows(moved)
                    seen = np.isin(columns, folded.bent)
                    part[:, np.searchsorted(folded.bent, columns[seen])] = values[seen]
                    after = np.asarray(self.boosters[k].predict(part, raw_score=True, num_threads=1))
                    out[moved] += self.tree_share * (after - self.correction[moved])

        folded.prepare()
        each_fold(one, folded.count)
        return out


def fit_nuisance(
    target: Floats,
    folded: Folded,
    columns: Columns,
    *,
    penalty: Floats,
    intercepts: Sequence[Codes] = (),
    probability: bool = False,
    trees: bool = True,
    maybe: Columns | None = None,
    seed: int,
) -> Nuisance:
    """Fit one nuisance across folds.

    Parameters
    ----------
    target : what is predicted, shape (n,); 0/1 if `probability`.
    folded : the design and the folds.
    columns : positions of the columns predicted from.
    penalty : ridge penalty of each of them, in rows.
    intercepts : cluster codes that get a random intercept; folds must not be made of these clusters.
    probability : logistic link; predictions lie strictly within 0 and 1.
    trees : whether boosted trees may correct the linear part.
    maybe : columns that are used only if predictions out of fold are better with them.
    seed : of the trees.
    """
    folded.prepare()
    plain = np.ones(len(columns), bool) if maybe is None else ~np.isin(columns, maybe)
    kept = columns if plain.all() or _bends(target, folded, columns, penalty, plain) else columns[plain]
    base = (fit_logistic if probability else fit_linear)(
        target, folded, kept, penalty[np.isin(columns, kept)], intercepts
    )
    correction, share = np.zeros(0), 0.0
    boosters: tuple[lightgbm.Booster, ...] = ()
    if trees and np.isin(folded.bent, columns).any():
        correction, boosters = _fit_trees(target, base, folded, columns, probability, seed)
        share = _tree_share(target, base.fitted, correction, folded.weights, probability) if boosters else 0.0
    score = base.fitted + share * correction if share else base.fitted
    fitted = expit(score) if probability else score
    if share == 0:
        return Nuisance(fitted, base.coefficients, share, folded)
    return Nuisance(fitted, base.coefficients, share, folded, boosters, correction)


def _bends(target: Floats, folded: Folded, columns: Columns, penalty: Floats, plain: npt.NDArray[np.bool_]) -> bool:
    """Whether ridge regressions predict better out of fold with the columns that aren't `plain`.

    Asked of ridge regressions for probabilities too: they come from Gram matrices that are there already.
    """
    bent = fit_linear(target, folded, columns, penalty, sample=False).fitted
    straight = fit_linear(target, folded, columns[plain], penalty[plain], sample=False).fitted
    return _loss(target, bent, folded.weights, False) < _loss(target, straight, folded.weights, False) * (1 - 1e-4)


def _fit_trees(
    target: Floats, base: Scores, folded: Folded, columns: Columns, probability: bool, seed: int
) -> tuple[Floats, tuple[lightgbm.Booster, ...]]:
    """Boost on top of the linear scores; returns the out-of-fold correction and one booster a fold.

    The first fold is tried alone: where trees don't help there, the other folds are spared, and there are no boosters.
    """
    correction = np.zeros(len(target))
    seen = np.isin(folded.bent, columns).astype(np.float64)
    params = TREES | {
        "objective": "binary" if probability else "regression",
        "seed": seed,
        "feature_contri": seen.tolist(),  # a gain times 0 never splits
        "boost_from_average": False,
    }
    sample, tables = folded.sample, folded.binned
    count = round(_TREE_COUNT * float(np.clip(_TREE_ROWS / len(sample), 1.0, 3.0)))

    def one(k: int) -> lightgbm.Booster:
        inside = folded.folds[sample] != k
        rows, start, table = sample[inside], base.on_sample[k][inside], tables[k]
        table.set_label(target[rows])
        table.set_init_score(start)
        if folded.weights is not None:
            table.set_weight(folded.weights[rows])
        booster = lightgbm.train(params, table, num_boost_round=count)
        for held in folded.chunks(folded.members[k]):
            correction[held] = np.asarray(booster.predict(folded.rows(held), raw_score=True, num_threads=1))
        return booster

    first = each_fold(one, 1)[0]
    held = folded.members[0]
    weights = folded.weights_of(held)
    if _tree_share(target[held], base.fitted[held], correction[held], weights, probability) == 0:
        return correction, ()
    return correction, (first, *each_fold(lambda k: one(k + 1), folded.count - 1))


def _tree_share(target: Floats, score: Floats, correction: Floats, weights: Floats | None, probability: bool) -> float:
    """Choose how much of the trees' correction to keep, by out-of-fold loss; a gain below one part in 10⁴ is none."""
    losses = {share: _loss(target, score + share * correction, weights, probability) for share in (0.0, 0.5, 1.0)}
    best = min(losses, key=lambda share: losses[share])
    return best if losses[best] < losses[0.0] * (1 - 1e-4) else 0.0


def _loss(target: Floats, score: Floats, weights: Floats | None, probability: bool) -> float:
    """Return the mean logistic or squared loss of scores."""
    if probability:
        s = np.clip(score, -30, 30)
        return float(np.average(np.logaddexp(0.0, s) - target * s, weights=weights))
    return float(np.average((target - score) ** 2, weights=weights))
