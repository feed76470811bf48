"""LightGBM nuisances of many edges: one binning of the adjustment columns a fold, one ensemble a target and fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from whyrank.estimators.folded import one_thread
from whyrank.estimators.grams import Folds, Standardised
from whyrank.estimators.many_sums import Edges, Refuter, Sums, residual_sums
from whyrank.estimators.plain import Floats, Plain, open_plain
from whyrank.estimators.scores import Way

__all__ = ["TREES", "tree_residuals", "tree_sums"]

TREES: Mapping[str, Any] = {
    "objective": "regression",
    "num_iterations": 100,
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""Parameters of the ensembles."""


def tree_residuals(X: Floats, targets: Floats, folds: Folds, *, params: Mapping[str, Any]) -> Floats:
    """Return what LightGBM, fitted on the other folds, leaves of each target.

    Parameters
    ----------
    X : adjustment columns, shape (n, p).
    targets : shape (n, targets).
    folds : fold of each row.
    params : LightGBM parameters.
    """
    left = np.array(targets)
    rounds = int(params.get("num_iterations", 100))
    rest = {name: value for name, value in params.items() if name != "num_iterations"}
    for k in range(int(folds.max()) + 1):
        train, held = np.flatnonzero(folds != k), np.flatnonzero(folds == k)
        bins = lightgbm.Dataset(X[train], params=rest, free_raw_data=True)
        inputs = np.ascontiguousarray(X[held])
        for j in range(targets.shape[1]):
            bins.set_label(targets[train, j])  # the bins don't depend on the target, and are made once
            booster = lightgbm.train(rest, bins, num_boost_round=rounds)
            left[held, j] -= np.asarray(booster.predict(inputs, num_threads=int(rest.get("num_threads", 1))))
    return left


def tree_sums(
    plain: Plain,
    edges: Edges,
    ways: Sequence[Way],
    folds: Folds,
    refuters: Sequence[Refuter],
    *,
    seed: int,
    params: Mapping[str, Any],
) -> Sums:
    """Return the sums that effects and refuters are made of; parameters as in `estimate_many`."""
    table = np.concatenate(list(plain.blocks(edges.columns)))
    place = {name: i for i, name in enumerate(edges.columns)}
    used = {**TREES, "seed": seed, **params}
    residuals: dict[tuple[str, int], Floats] = {}
    with one_thread():
        for s, names in enumerate(edges.sets):
            members = [pair for pair, which in zip(edges.pairs, edges.which, strict=True) if which == s]
            targets = list(dict.fromkeys([*(cause for cause, _ in members), *(outcome for _, outcome in members)]))
            values = table[:, [place[name] for name in targets]]
            if names:
                left = tree_residuals(table[:, [place[name] for name in names]], values, folds, params=used)
            else:
                left = values - _means_elsewhere(values, folds)
            residuals.update(((name, s), left[:, j]) for j, name in enumerate(targets))
    # The columns of two sets are other residuals of the same column, so that they need names of their own.
    named = {key: f"{key[1]}:{key[0]}" for key in residuals}
    pairs = tuple((named[c, s], named[o, s]) for (c, o), s in zip(edges.pairs, edges.which, strict=True))
    inner = Edges(tuple(named.values()), pairs, edges.sets, edges.which)
    frame = pd.DataFrame({named[key]: values for key, values in residuals.items()}, copy=False)
    del residuals
    standard = Standardised(open_plain(frame), inner.columns)
    next(standard.blocks())  # fixes the units
    return residual_sums(standard, inner, ways, refuters, _totals(table, edges, standard, inner))


def _means_elsewhere(values: Floats, folds: Folds) -> Floats:
    """Return the mean of the other folds, for targets that have nothing to be predicted by."""
    out = np.empty_like(values)
    for k in range(int(folds.max()) + 1):
        out[folds == k] = values[folds != k].mean(axis=0)
    return out


def _totals(table: Floats, edges: Edges, standard: Standardised, inner: Edges) -> Floats:
    """Return sums of squares and products before adjustment, in the units of the residuals."""
    centred = table - table.mean(axis=0)
    cause, outcome = (where - 1 for where in edges.positions())
    t_place, y_place = (where - 1 for where in inner.positions())
    gram = centred.T @ centred
    t_scale, y_scale = standard.scale[t_place], standard.scale[y_place]
    return np.stack([gram[cause, cause] / t_scale**2, gram[cause, outcome] / (t_scale * y_scale)])
