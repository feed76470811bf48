"""From one attribute to columns of numbers, at the level of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from whyrank.datasets.study_data import Attribute

__all__ = ["Encoded", "encode"]

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

MAX_LEVELS = 50
"""A categorical keeps this many of its most frequent levels; the rest are pooled (they adjust, they aren't tested)."""

MIN_LEVEL_ROWS = 5
"""Rows of its table that a level needs to stand alone; rarer levels are pooled."""

MIN_CURVED_ROWS = 200
"""Rows of its table that a numeric attribute needs to be adjusted for along a curve."""

MIN_CURVED_VALUES = 8
"""Values that it needs for that."""


def _none() -> Matrix:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Encoded:
    """One attribute in columns.

    Attributes
    ----------
    matrix : shape (rows of the table, columns); no columns where there is nothing to compare.
    levels : the level each 0/1 column stands for ("" for a numeric column); the last may be "missing?".
    pooled : levels too rare to stand alone, encoded together as "pooled?".
    values : numeric: as they are; binary: 0/1; categorical and ordinal: code of the level in `levels` + 1, 0 for the
        reference, -1 for missing or pooled; set: NaN.
    curved : square, rank and squared rank of a numeric attribute: they adjust, they are no cause.
    """

    matrix: Matrix
    levels: tuple[str, ...]
    pooled: tuple[str, ...]
    values: Floats
    curved: Matrix = field(default_factory=_none)


def encode(attribute: Attribute, column: pd.Series[float], counts: Floats | None = None) -> Encoded:
    """Encode one column.

    Numeric columns are standardised; missing is 0, with an indicator (with an indicator the fill value carries no
    information, so that none leaks across folds).

    Parameters
    ----------
    attribute : what the column is.
    column : its values, one for each row of its table.
    counts : how many rows each value stands for; None: one.
    """
    weight = np.ones(len(column)) if counts is None else counts
    if attribute.kind == "numeric":
        return _numeric(column, weight)
    if attribute.kind == "binary":
        values = np.asarray(column.to_numpy(np.float64), np.float64)
        present = np.isfinite(values)
        if len(np.unique(values[present])) < 2:
            return Encoded(np.zeros((len(values), 0), np.float32), (), (), values)
        return _with_missing(np.where(present, values, 0.0)[:, None], present, ("",), (), values)
    if attribute.kind == "set":
        return _set(attribute, column, weight)
    return _levels(attribute, column, weight)


def _numeric(column: pd.Series[float], weight: Floats) -> Encoded:
    values = np.asarray(column.to_numpy(np.float64), np.float64)
    present = np.isfinite(values)
    centre, spread = _moments(values[present], weight[present])
    if not spread > 1e-12 * max(1.0, abs(centre)):
        return Encoded(np.zeros((len(values), 0), np.float32), (), (), values)
    z = np.where(present, (values - centre) / spread, 0.0)
    found = _with_missing(z[:, None], present, ("",), (), values)
    if weight[present].sum() < MIN_CURVED_ROWS or len(np.unique(values[present])) < MIN_CURVED_VALUES:
        return found
    order = np.where(present, values, np.inf)
    if np.all(weight == 1.0):
        rank = rankdata(order) / present.sum()
    else:
        sorting = np.argsort(order, kind="stable")
        rank = np.empty(len(order))
        rank[sorting] = (np.cumsum(weight[sorting]) - weight[sorting] / 2) / weight[present].sum()
    curved = [
        np.where(present, _standard(curve, present, weight), 0.0) for curve in (z**2, rank - 0.5, (rank - 0.5) ** 2)
    ]
    return Encoded(found.matrix, found.levels, (), values, np.column_stack(curved).astype(np.float32))


def _moments(values: Floats, weight: Floats) -> tuple[float, float]:
    if not len(values):
        return 0.0, 0.0
    centre = float(np.average(values, weights=weight))
    return centre, float(np.sqrt(np.average((values - centre) ** 2, weights=weight)))


def _standard(values: Floats, present: npt.NDArray[np.bool_], weight: Floats) -> Floats:
    centre, spread = _moments(values[present], weight[present])
    return np.asarray((values - centre) / (spread or 1.0))


def _set(attribute: Attribute, column: pd.Series[float], weight: Floats) -> Encoded:
    chosen: list[frozenset[str]] = [frozenset(v) if isinstance(v, tuple) else frozenset() for v in column]
    present = np.array([isinstance(v, tuple) for v in column], bool)
    has = {level: np.array([level in c for c in chosen], np.float64) for level in attribute.levels}
    kept = _kept({level: float(values @ weight) for level, values in has.items()}, float(weight.sum()))
    columns = np.column_stack([has[level] for level in kept]) if kept else np.zeros((len(column), 0))
    pooled = tuple(level for level in attribute.levels if level not in kept)
    return _with_missing(columns, present, kept, pooled, np.full(len(column), np.nan))


def _levels(attribute: Attribute, column: pd.Series[float], weight: Floats) -> Encoded:
    text = column.astype(object).to_numpy()
    present = ~pd.isna(text)
    frame = pd.Series(weight[present]).groupby(text[present], sort=False).sum()
    counts = {level: float(frame.get(level, 0.0)) for level in attribute.levels if level != attribute.reference}
    kept = _kept(counts, float(weight.sum()))
    position = {level: i + 1 for i, level in enumerate(kept)} | {attribute.reference: 0}
    codes = np.array([position.get(v, -1) if p else -1 for v, p in zip(text, present, strict=True)], np.float64)
    pooled = tuple(level for level, count in counts.items() if count and level not in kept)
    if not kept and not pooled:
        return Encoded(np.zeros((len(text), 0), np.float32), (), (), codes)
    columns = (codes[:, None] == np.arange(1, len(kept) + 1)[None, :]).astype(np.float64)
    levels = kept
    if pooled:
        columns = np.column_stack([columns, (codes == -1) & present])
        levels = (*kept, "pooled?")
    return _with_missing(columns, present, levels, pooled, codes)


def _kept(counts: Mapping[str, float], rows: float) -> tuple[str, ...]:
    """Return the levels that stand alone: present, not rare, the most frequent first up to the limit."""
    enough = [level for level, count in counts.items() if 0 < count < rows and count >= min(MIN_LEVEL_ROWS, rows)]
    ranked = set(sorted(enough, key=lambda level: (-counts[level], level))[:MAX_LEVELS])
    return tuple(level for level in counts if level in ranked)


def _with_missing(
    columns: Floats, present: npt.NDArray[np.bool_], levels: Sequence[str], pooled: tuple[str, ...], values: Floats
) -> Encoded:
    if present.all():
        return Encoded(columns.astype(np.float32), tuple(levels), pooled, values)
    return Encoded(np.column_stack([columns, ~present]).astype(np.float32), (*levels, "missing?"), pooled, values)
