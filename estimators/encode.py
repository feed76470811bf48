"""From one attribute to columns of numbers, at the level of its table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute

__all__ = ["Encoded", "encode", "products"]

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

MAX_LEVELS = 50
"""A categorical keeps this many of its most frequent levels; the rest are pooled (they adjust, they aren't tested)."""

MIN_LEVEL_ROWS = 5
"""Rows of its table that a level needs to stand alone; rarer levels are pooled."""

MIN_CURVED_ROWS = 200
"""Rows of its table that a numeric attribute needs to be adjusted for along a curve."""

KNOTS = (0.2, 0.4, 0.6, 0.8)
"""Quantiles of a numeric attribute at which its line may bend."""

MAX_PRODUCTS = 60
"""Products of two attributes of a table: up to so many, and one for every twenty of its rows."""

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
    curved : square and hinges of a numeric attribute: they adjust, they are no cause.
    """

    matrix: Matrix
    levels: tuple[str, ...]
    pooled: tuple[str, ...]
    values: Floats
    curved: Matrix = field(default_factory=_none)

    @property
    def kept(self) -> int:
        """Number of columns that stand for a value or a level, and not for what is missing or pooled."""
        return sum(level not in ("missing?", "pooled?") for level in self.levels)


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


def products(members: Sequence[tuple[str, Encoded]], rows: float) -> Iterator[tuple[str, str, Matrix]]:
    """Yield the products of numeric attributes of one table, and of these with levels, if they aren't too many.

    Parameters
    ----------
    members : the attributes.
    rows : how many rows their table stands for.
    """
    wide = [(name, found) for name, found in members if found.curved.shape[1]]
    short = [(name, found) for name, found in members if not found.curved.shape[1] and found.matrix.shape[1]]
    room = min(MAX_PRODUCTS, int(rows) // 20)
    pairs = list(combinations(wide, 2))
    mixed = [(one, other) for one in wide for other in short]
    for group in (pairs, mixed):
        width = sum(one[1].kept * other[1].kept for one, other in group)
        if width > room:
            return
        room -= width
        for (a, one), (b, other) in group:
            found = one.matrix[:, :1] * other.matrix[:, : other.kept]
            yield a, b, (found - found.mean(axis=0)) / np.maximum(found.std(axis=0), 1e-6)


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
    knots = _quantiles(z[present], weight[present], KNOTS)
    bends = [z**2, *(np.maximum(z - knot, 0.0) for knot in knots)]
    curved = [np.where(present, _standard(bend, present, weight), 0.0) for bend in bends]
    return Encoded(found.matrix, found.levels, (), values, np.column_stack(curved).astype(np.float32))


def _quantiles(values: Floats, weight: Floats, shares: Sequence[float]) -> list[float]:
    """Return distinct quantiles that lie strictly between the smallest and the largest value."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()
    place = np.minimum(np.searchsorted(below, shares), len(order) - 1)
    found = {float(values[order[k]]) for k in place}
    return sorted(knot for knot in found if values.min() < knot < values.max())


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
