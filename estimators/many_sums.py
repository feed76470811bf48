"""What every way of estimating many edges ends in: sums over residuals, and the table made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from whyrank.errors import InputError
from whyrank.estimators.closed import Noise, Spread, noisy_bootstrap, placebo, random_common_cause, robustness, subset
from whyrank.estimators.exchange import Exchange
from whyrank.estimators.grams import Columns, Folds, Standardised, gram_matrices
from whyrank.estimators.plain import Floats
from whyrank.estimators.scores import Group, Scores, Way

__all__ = ["REFUTERS", "Edges", "Noisy", "Refuter", "Sums", "residual_sums", "room", "score_groups", "summarise"]

Refuter = Literal["placebo", "random_common_cause", "data_subset", "bootstrap"]

REFUTERS: tuple[Refuter, ...] = get_args(Refuter)

DETERMINED = 1e-9
"""Share of a cause's variance below which the adjustment columns determine it."""

CLUSTER_BYTES = 2**29
"""Sums by cluster and edge are kept within this; where they don't fit, the rows are read again for other edges."""

BLOCK_NUMBERS = 2**21
"""Residuals and scores that are worked on at a time."""


@dataclass(frozen=True)
class Edges:
    """What is to be estimated.

    Attributes
    ----------
    columns : names of all columns that are read.
    pairs : (cause, outcome) of each edge.
    sets, which : distinct adjustment sets, and the position of each edge's.
    """

    columns: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    sets: tuple[tuple[str, ...], ...]
    which: tuple[int, ...]

    @property
    def adjusted(self) -> Floats:
        """Number of adjustment columns of each edge."""
        return np.array([len(self.sets[i]) for i in self.which], float)

    def positions(self) -> tuple[Columns, Columns]:
        """Columns of a block (the constant stands first) that are each edge's cause and outcome."""
        place = {name: i + 1 for i, name in enumerate(self.columns)}
        return (
            np.array([place[cause] for cause, _ in self.pairs], np.intp),
            np.array([place[outcome] for _, outcome in self.pairs], np.intp),
        )


@dataclass(frozen=True)
class Noisy:
    """The same sums with noise in the adjustment columns."""

    estimate: Floats
    tt: Floats
    ee: Floats
    scores: Floats
    noise: Noise


@dataclass(frozen=True)
class Sums:
    """Sums over rows, an element an edge, in units in which columns are about 1.

    Attributes
    ----------
    n : rows.
    unit : what an effect is multiplied by to be in the units of the columns.
    tt, ty, yy : of residuals; yy about the mean.
    total_tt, total_ty : of the columns themselves, about their means.
    rows, ways : squared scores, summed over rows, and over the clusters of each way.
    placebo_sd : of a placebo among clusters; None without clusters.
    noisy : for a bootstrap with noise.
    """

    n: int
    unit: Floats
    tt: Floats
    ty: Floats
    yy: Floats
    total_tt: Floats
    total_ty: Floats
    rows: Floats
    ways: tuple[Floats, ...]
    placebo_sd: Floats | None
    noisy: Noisy | None


def room(ways: Sequence[Way]) -> int:
    """Return how many edges' sums by cluster fit into memory together."""
    clusters = 2 * sum(way.summed for way in ways)
    return max(1, CLUSTER_BYTES // (8 * clusters)) if clusters else 2**31


def score_groups(
    table: Standardised,
    groups: Sequence[Group],
    ways: Sequence[Way],
    folds: Folds | None,
    raw: Sequence[Columns] | None = None,
) -> list[tuple[Scores, Exchange | None]]:
    """Collect the scores of some groups of edges in one pass.

    Parameters
    ----------
    table, folds : the rows.
    groups, ways : the edges, and how rows are clustered.
    raw : columns of each group's causes as they are, if placebos among the clusters of the first way are wanted.
    """
    scores = [Scores(group, ways) for group in groups]
    exchanges = [
        None if raw is None else Exchange(ways[0].clusters, len(raw[i]), len(s.outcomes)) for i, s in enumerate(scores)
    ]
    widths = [len(g.targets) + (len(g.cause) if ways or not g.grid else 0) for g in groups]
    start = 0
    for block in table.blocks():
        for group, score, exchange, width, i in zip(groups, scores, exchanges, widths, range(len(groups)), strict=True):
            for part in _slices(len(block), width):
                fold = None if folds is None else folds[start + part.start : start + part.stop]
                residuals = group.residuals(block[part], fold)
                score.add(residuals, start + part.start)
                if exchange is not None and raw is not None:
                    codes = ways[0].codes[start + part.start : start + part.stop]
                    exchange.add(
                        np.take(block[part], raw[i], axis=1), np.take(residuals, score.outcomes, axis=1), codes
                    )
        start += len(block)
    return list(zip(scores, exchanges, strict=True))


def _slices(rows: int, width: int) -> Iterator[slice]:
    step = int(np.clip(BLOCK_NUMBERS // max(width, 1), 256, rows or 1)) if rows > 256 else max(rows, 1)
    return (slice(i, min(i + step, rows)) for i in range(0, rows, step))


def residual_sums(
    table: Standardised, edges: Edges, ways: Sequence[Way], refuters: Sequence[Refuter], totals: Floats | None = None
) -> Sums:
    """Return the sums where the columns of the table are residuals already.

    Parameters
    ----------
    table, edges : residuals; `edges.columns` are the table's.
    ways, refuters : as in `estimate_many`.
    totals : sums of squares of the causes about their means before anything was adjusted for, and of products of causes
        and outcomes, shape (2, edges); None if unknown, and then those of the residuals.
    """
    gram = gram_matrices(table, None, 1)[0]
    cause, outcome = edges.positions()
    n = int(gram[0, 0])
    centred = gram - np.outer(gram[0], gram[0]) / n
    tt, ty, yy = gram[cause, cause], gram[cause, outcome], centred[outcome, outcome]
    unit = table.scale[outcome - 1] / table.scale[cause - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = ty / tt
    rows = np.empty(len(cause))
    by_way = tuple(np.empty(len(cause)) for _ in ways)
    among = np.empty(len(cause)) if ways and "placebo" in refuters else None
    most = min(room(ways), 512)
    for first in range(0, len(cause), most):
        part = np.arange(first, min(first + most, len(cause)))
        group = Group(cause[part], outcome[part], np.zeros(0, np.intp), np.arange(len(edges.columns) + 1), _NONE, False)
        raw = None if among is None else [cause[part]]
        ((score, exchange),) = score_groups(table, [group], ways, None, raw)
        rows[part] = score.by_rows(estimate[part])
        for w, values in enumerate(by_way):
            values[part] = score.by_clusters(w, estimate[part])
        if among is not None and exchange is not None:
            among[part] = exchange.sd(grid=False)
    total_tt, total_ty = totals if totals is not None else (centred[cause, cause], centred[cause, outcome])
    return Sums(n, unit, tt, ty, yy, total_tt, total_ty, rows, by_way, among, None)


_NONE = np.zeros((1, 0, 0))


def summarise(
    edges: Edges,
    sums: Sums,
    ways: Sequence[Way],
    refuters: Sequence[Refuter],
    subset_fraction: float,
    *,
    in_sample: bool,
) -> pd.DataFrame:
    """Turn sums into the table of effects (its columns: `estimate_many`)."""
    n, adjusted = sums.n, edges.adjusted
    if n <= int(adjusted.max()) + 4:
        raise InputError(f"{n} rows are too few to adjust for {int(adjusted.max())} columns")
    constant = ~(sums.total_tt > DETERMINED * n * 1e-6)
    determined = ~constant & ~(sums.tt > DETERMINED * sums.total_tt)
    fine = ~(constant | determined)
    tt = np.where(fine, sums.tt, np.nan)
    estimate = sums.ty / tt
    ee = np.maximum(sums.yy - estimate * sums.ty, 0.0)
    freedom = n - adjusted - 2
    by_rows = sums.rows / tt**2
    if ways:
        corrected = [
            (w.clusters / (w.clusters - 1)) * (n - 1) / freedom * s / tt**2
            for w, s in zip(ways, sums.ways, strict=True)
        ]
        variance = corrected[0]
        if len(ways) == 3:
            variance = np.maximum(corrected[0] + corrected[1] - corrected[2], np.maximum(corrected[0], corrected[1]))
        dof = np.full(len(tt), float(min(w.clusters for w in ways[:2]) - 1))
        drawn = sums.ways[0] / tt**2 * ways[0].clusters / (ways[0].clusters - 1)
    else:
        variance, dof, drawn = n / freedom * by_rows, freedom, n / (n - 1) * by_rows
    spreads: dict[str, Spread] = {}
    if "placebo" in refuters:
        if sums.placebo_sd is not None:
            spreads["placebo"] = Spread(np.zeros(len(tt)), np.where(fine, sums.placebo_sd, np.nan))
        else:
            total = np.where(fine, sums.total_tt, np.nan)
            spreads["placebo"] = placebo(sums.yy, total, n, adjusted if in_sample else np.zeros(len(tt)))
    if "random_common_cause" in refuters:
        spreads["random_common_cause"] = random_common_cause(estimate, ee, tt, n - adjusted - 1)
    if "data_subset" in refuters:
        spreads["data_subset"] = subset(estimate, drawn, subset_fraction)
    if "bootstrap" in refuters:
        spreads["bootstrap"] = _bootstrap(sums, estimate, by_rows, drawn, fine)
    return _table(
        edges, sums, estimate, np.sqrt(variance), dof, robustness(estimate, tt, ee), spreads, constant, determined
    )


def _bootstrap(sums: Sums, estimate: Floats, by_rows: Floats, drawn: Floats, fine: npt.NDArray[np.bool_]) -> Spread:
    """Bootstrap of rows, wider by the design effect where clusters are drawn; with noise if there is some."""
    if sums.noisy is None:
        return Spread(estimate.copy(), np.sqrt(drawn))
    noisy = sums.noisy
    tt = np.where(fine, noisy.tt, np.nan)
    spread = noisy_bootstrap(noisy.estimate, tt, noisy.scores, noisy.ee, noisy.noise, sums.n)
    with np.errstate(divide="ignore", invalid="ignore"):
        wider = np.where(by_rows > 0, np.sqrt(drawn / by_rows), 1.0)
    return Spread(np.where(fine, spread.mean, np.nan), np.where(fine, spread.sd * wider, np.nan))


def _table(
    edges: Edges,
    sums: Sums,
    estimate: Floats,
    se: Floats,
    dof: Floats,
    value: Floats,
    spreads: dict[str, Spread],
    constant: npt.NDArray[np.bool_],
    determined: npt.NDArray[np.bool_],
) -> pd.DataFrame:
    unit = sums.unit
    quantile = np.asarray(stats.t.ppf(0.975, np.unique(dof)))[np.searchsorted(np.unique(dof), dof)]
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * stats.t.sf(np.abs(estimate) / se, dof)
        naive = sums.total_ty / np.where(constant, np.nan, sums.total_tt) * unit
    named = [", ".join(names) for names in edges.sets]
    columns: dict[str, object] = {
        "cause": [cause for cause, _ in edges.pairs],
        "outcome": [outcome for _, outcome in edges.pairs],
        "estimate": estimate * unit,
        "se": se * unit,
        "ci_low": (estimate - quantile * se) * unit,
        "ci_high": (estimate + quantile * se) * unit,
        "p_value": p_value,
        "naive": naive,
        "n": np.full(len(se), sums.n),
        "dof": dof,
        "robustness_value": value,
    }
    for name, spread in spreads.items():
        columns[f"{name}_mean"] = spread.mean * unit
        columns[f"{name}_sd"] = spread.sd * unit
    columns["adjusted_for"] = [named[i] for i in edges.which]
    columns["problem"] = np.where(
        constant, "the cause is constant", np.where(determined, "the adjustment columns determine the cause", "")
    )
    return pd.DataFrame(columns)
