"""Many edges on one plain table at once: effects, standard errors and refuters from shared residuals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from whyrank.errors import DataError, InputError
from whyrank.estimators.grams import Folds, Standardised
from whyrank.estimators.many_linear import Precision, linear_sums
from whyrank.estimators.many_sums import REFUTERS, Edges, Refuter, Sums, residual_sums, summarise
from whyrank.estimators.many_trees import tree_sums
from whyrank.estimators.plain import Plain, TableLike, open_plain
from whyrank.estimators.scores import Way, pair_way

__all__ = ["Adjust", "effects_of_residuals", "estimate_many"]

Adjust = Sequence[str] | Mapping[str, Sequence[str]] | Mapping[tuple[str, str], Sequence[str]]
"""One adjustment set for all edges, one for each cause, or one for each (cause, outcome)."""

TREE_FOLDS = 5


def estimate_many(
    table: TableLike,
    causes: Sequence[str],
    outcomes: Sequence[str],
    adjust: Adjust,
    *,
    clusters: str | Sequence[str] | None = None,
    folds: int | None = None,
    nuisances: Literal["linear", "lightgbm"] = "linear",
    seed: int = 0,
    refuters: Sequence[Refuter] = REFUTERS,
    subset_fraction: float = 0.8,
    bootstrap_noise: float = 0.1,
    precision: Precision = "double",
    tree_params: Mapping[str, Any] | None = None,
    chunk_rows: int = 65_536,
) -> pd.DataFrame:
    r"""Estimate the effect of each cause on each outcome, with refuters, from residuals that edges share.

    .. math:: \theta = \frac{\sum \tilde t \tilde y}{\sum \tilde t^2}, \quad
        \tilde t = t - \hat E[t \mid W], \quad \tilde y = y - \hat E[y \mid W]

    Each column is regressed once on each adjustment set W, not once for each edge, and refuters are closed forms, not
    refits. With linear nuisances and one fold the estimates are those of ordinary least squares with an intercept;
    with several folds, those of cross-fitted partialling-out. Linear nuisances come from Gram matrices in passes over
    the rows, so that tables larger than memory will do.

    Parameters
    ----------
    table : a DataFrame, a mapping of arrays, the path of a Parquet file or folder, a list of DataFrames that follow
        each other, or a function that returns an iterator over them. Columns are numbers without gaps.
    causes, outcomes : names of columns; a column that is both isn't paired with itself.
    adjust : the adjustment columns: one set for all edges, a mapping from causes, or one from (cause, outcome).
    clusters : one column or two whose values say which rows belong together (users; users and items). Standard errors
        are then cluster-robust, folds are made of whole clusters of the first, and refuters draw whole clusters of the
        first. None: heteroskedasticity-robust (HC1).
    folds : folds of the cross-fitting; 1 is none. Default: 1 with linear nuisances, 5 with LightGBM.
    nuisances : "linear", or "lightgbm" (needs all rows in memory).
    seed : of the folds and of LightGBM.
    refuters : any of "placebo" (the cause permuted), "random_common_cause", "data_subset", "bootstrap".
    subset_fraction : share of the rows that data_subset keeps.
    bootstrap_noise : noise that the bootstrap adds to the adjustment columns, as a share of each one's standard
        deviation (linear nuisances only).
    precision : "single" computes residuals and scores in float32. Gram matrices, and so the estimates, stay in float64:
        only standard errors and spreads differ, by about one part in 10⁵.
    tree_params : LightGBM parameters that replace or add to the defaults.
    chunk_rows : rows at a time.

    Returns
    -------
    DataFrame
        One row an edge, in the order causes × outcomes: cause, outcome, estimate, se, ci_low, ci_high, p_value, naive
        (nothing adjusted for), n, dof, robustness_value; `<refuter>_mean` and `<refuter>_sd`, the mean and standard
        deviation of the estimate over a refuter's simulations; adjusted_for; and problem, which is empty unless there
        is no estimate.

    Raises
    ------
    InputError
        If a name isn't a column, a value is missing or no number, a cause or an outcome stands in its own adjustment
        set, or there are fewer rows than columns to adjust for. The message names it.

    References
    ----------
    Frisch and Waugh (1933), Econometrica 1; Robinson (1988), Econometrica 56; Chernozhukov et al. (2018), Econometrics
    Journal 21; Cameron, Gelbach and Miller (2011), JBES 29.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> w, noise = rng.normal(size=500), rng.normal(size=500)
    >>> table = {"w": w, "t": w + noise, "y": 2.0 * (w + noise) - w}
    >>> found = estimate_many(table, ["t"], ["y"], ["w"])
    >>> round(float(found["estimate"].iloc[0]), 6)
    2.0
    """
    _check_choices(nuisances, precision, refuters, subset_fraction, bootstrap_noise)
    plain = open_plain(table, chunk_rows=chunk_rows)
    edges = _edges(causes, outcomes, adjust)
    plain.check(edges.columns)
    ways = _ways(plain, clusters)
    count = folds if folds is not None else (1 if nuisances == "linear" else TREE_FOLDS)
    if nuisances == "lightgbm" and count < 2:
        raise InputError(f"folds = {count!r}: LightGBM needs at least 2, else it predicts the rows that it has learnt")
    dealt = _deal(plain, edges, ways, count, seed)
    if nuisances == "linear" or dealt is None:
        noise = bootstrap_noise if "bootstrap" in refuters else 0.0
        sums = linear_sums(plain, edges, ways, dealt, count, refuters, noise, precision)
    else:
        sums = tree_sums(plain, edges, ways, dealt, refuters, seed=seed, params=tree_params or {})
    return summarise(edges, sums, ways, refuters, subset_fraction, in_sample=count == 1)


def effects_of_residuals(
    causes: pd.DataFrame,
    outcomes: pd.DataFrame,
    *,
    clusters: pd.DataFrame | pd.Series[Any] | None = None,
    refuters: Sequence[Refuter] = REFUTERS,
    subset_fraction: float = 0.8,
) -> pd.DataFrame:
    """Return the same table from residuals that someone else computed, say an EconML learner's `residuals_`.

    Parameters
    ----------
    causes, outcomes : residuals, one column each, row by row.
    clusters : one or two columns of cluster names.
    refuters, subset_fraction : as in `estimate_many`; the placebo permutes the residual cause, and the bootstrap adds
        no noise.

    Raises
    ------
    InputError
        If lengths differ, names are doubled, or values are missing.
    """
    _check_choices("linear", "double", refuters, subset_fraction, 0.0)
    if len(causes) != len(outcomes) or (clusters is not None and len(clusters) != len(causes)):
        raise InputError(
            f"{len(causes)} rows of causes, {len(outcomes)} of outcomes: residuals must be of the same rows"
        )
    edges = _edges([str(c) for c in causes], [str(c) for c in outcomes], ())
    both = pd.concat([causes.reset_index(drop=True), outcomes.reset_index(drop=True)], axis=1)
    named = pd.DataFrame(clusters).reset_index(drop=True) if clusters is not None else pd.DataFrame(index=both.index)
    named.columns = [f"cluster {i}" for i in range(named.shape[1])]
    ways = _ways(open_plain(named), tuple(named.columns)) if named.shape[1] else ()
    table = Standardised(open_plain(both), edges.columns)
    sums: Sums = residual_sums(table, edges, ways, refuters)
    return summarise(edges, sums, ways, refuters, subset_fraction, in_sample=False)


def _check_choices(
    nuisances: str, precision: str, refuters: Sequence[str], subset_fraction: float, bootstrap_noise: float
) -> None:
    if nuisances not in ("linear", "lightgbm"):
        raise InputError(f"nuisances = {nuisances!r}: expected 'linear' or 'lightgbm'")
    if precision not in ("double", "single"):
        raise InputError(f"precision = {precision!r}: expected 'double' or 'single'")
    for name in refuters:
        if name not in REFUTERS:
            raise InputError(f"there is no refuter {name!r}: expected some of {', '.join(REFUTERS)}")
    if not 0 < subset_fraction < 1:
        raise InputError(f"subset_fraction = {subset_fraction!r}: expected a share between 0 and 1")
    if not bootstrap_noise >= 0:
        raise InputError(f"bootstrap_noise = {bootstrap_noise!r}: expected 0 or more")


def _edges(causes: Sequence[str], outcomes: Sequence[str], adjust: Adjust) -> Edges:
    for kind, names in (("causes", causes), ("outcomes", outcomes)):
        if isinstance(names, str) or not len(names):
            raise InputError(f"{kind} = {names!r}: expected a list of column names")
        doubled = [name for i, name in enumerate(names) if name in names[:i]]
        if doubled:
            raise InputError(f"{kind} name {doubled[0]!r} twice")
    if isinstance(adjust, str):
        raise InputError(f"adjust = {adjust!r}: expected a list of column names, or a mapping to such lists")
    find = _finder(adjust)
    pairs = [(cause, outcome) for cause in causes for outcome in outcomes if cause != outcome]
    if not pairs:
        raise InputError("there is no edge: the only cause is the only outcome")
    sets: dict[tuple[str, ...], int] = {}
    which = []
    for cause, outcome in pairs:
        names = tuple(dict.fromkeys(find(cause, outcome)))
        for end, role in ((cause, "cause"), (outcome, "outcome")):
            if end in names:
                raise InputError(f"{cause} -> {outcome}: the {role} stands in its own adjustment set")
        which.append(sets.setdefault(names, len(sets)))
    columns = tuple(dict.fromkeys([*causes, *outcomes, *(name for names in sets for name in names)]))
    return Edges(columns, tuple(pairs), tuple(sets), tuple(which))


def _finder(adjust: Adjust) -> Callable[[str, str], Iterable[str]]:
    if not isinstance(adjust, Mapping):
        return lambda cause, outcome: adjust
    known: dict[Any, Sequence[str]] = dict(adjust)
    for key, names in known.items():
        if isinstance(names, str):
            raise InputError(f"adjust[{key!r}] = {names!r}: expected a list of column names")

    def find(cause: str, outcome: str) -> Iterable[str]:
        for key in ((cause, outcome), cause):
            if key in known:
                return known[key]
        raise InputError(
            f"adjust says nothing about {cause} -> {outcome}: neither {(cause, outcome)!r} nor {cause!r} is in it"
        )

    return find


def _ways(plain: Plain, clusters: str | Sequence[str] | None) -> tuple[Way, ...]:
    """Return the clusters: none, one way, or two ways and their intersection."""
    names = (clusters,) if isinstance(clusters, str) else tuple(clusters or ())
    if len(names) > 2:
        raise InputError(f"clusters = {list(names)!r}: expected one column or two")
    ways = [Way.of(plain.codes(name)) for name in names]
    for name, way in zip(names, ways, strict=True):
        if way.clusters < 2:
            raise DataError(f"all rows are of one {name!r}: there is nothing to tell the error from")
    return (*ways, pair_way(*ways)) if len(ways) == 2 else tuple(ways)


def _deal(plain: Plain, edges: Edges, ways: Sequence[Way], count: int, seed: int) -> Folds | None:
    """Return the fold of each row; whole clusters of the first way stay together."""
    if count == 1:
        return None
    rng = np.random.default_rng([seed, 1])
    units = ways[0].clusters if ways else sum(len(frame) for frame in plain.frames(edges.columns[:1]))
    if not 1 < count <= min(units, 127):
        raise InputError(
            f"folds = {count!r}: expected 1 to {min(units, 127)}, as there are {units} rows or clusters to deal"
        )
    fold = (rng.permutation(units) % count).astype(np.int8)
    return fold[ways[0].codes] if ways else fold
