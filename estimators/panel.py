"""The table one edge is judged on, in columns: outcome, clusters, and every attribute encoded once.

A panel is shared by all edges with the same outcome and grain. Attributes live at the level of their table and are
taken to the rows by position, so that a million exposures of three hundred items encode three hundred rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.edge import Edge, Grain
from whyrank.errors import InputError
from whyrank.estimators.words import say

__all__ = ["Block", "Panel", "build_panel", "grain_of"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Columns = npt.NDArray[np.intp]

MAX_LEVELS = 50
"""A categorical keeps this many of its most frequent levels; the rest are pooled (they adjust, they aren't tested)."""

MIN_LEVEL_ROWS = 5
"""Rows of its table that a level needs to stand alone; rarer levels are pooled."""


def grain_of(edge: Edge) -> Grain:
    """Return the grain an edge is judged at: users.Y totals at the user, attribute on attribute at its table."""
    if edge.effect.startswith("events."):
        return "exposure"
    return "user" if edge.effect.startswith("users.") else "item"


@dataclass(frozen=True)
class Block:
    """One attribute's columns in the design matrix.

    Attributes
    ----------
    attribute : what they encode.
    columns : positions in the design matrix.
    levels : the level each 0/1 column stands for ("" for a numeric column); the last column may be the indicator of
        a missing value.
    pooled : levels too rare to stand alone, encoded together.
    """

    attribute: Attribute
    columns: npt.NDArray[np.intp]
    levels: tuple[str, ...]
    pooled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Outcome, clusters and design of one (outcome, grain).

    Attributes
    ----------
    grain, outcome, scale : what is judged.
    y : outcome, shape (n,).
    user, item : cluster codes, shape (n,), or None at the other table's grain.
    design : encoded attributes, float32, shape (n, p); numeric columns are standardised, missing is 0 with an indicator
        (with an indicator the fill value carries no information, so none leaks across folds).
    blocks : attribute name to its columns, in the study's order.
    randomised : mask of rows whose item was drawn at random, or None.
    raw : each attribute's values in its own units, or codes of its levels.
    means : attribute name to the design columns that hold its mean in each item and user that it varies within.
    warnings : what was done to the columns.
    """

    grain: Grain
    outcome: str
    scale: str
    y: Floats
    user: Codes | None
    item: Codes | None
    design: npt.NDArray[np.float32]
    blocks: dict[str, Block]
    raw: dict[str, npt.NDArray[np.float64]] = field(repr=False)
    means: dict[str, Columns] = field(default_factory=dict)
    randomised: npt.NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)

    @cached_property
    def pair(self) -> Codes:
        """Codes of (user, item) pairs, for the intersection in two-way clustering."""
        if self.user is None or self.item is None:
            return np.arange(self.n, dtype=np.int32)
        width = int(self.item.max()) + 1
        keys = self.user.astype(np.int64) * width + self.item
        codes: Codes = np.unique(keys, return_inverse=True)[1].astype(np.int32)
        return codes

    def cluster_of(self, name: str) -> tuple[str, Codes]:
        """Return the kind and the codes of the clusters to which an attribute is assigned."""
        table = name.split(".", 1)[0]
        if table == "users" and self.user is not None:
            return "users", self.user
        if table == "items" and self.item is not None:
            return "items", self.item
        return "rows", self.pair

    def take(self, mask: npt.NDArray[np.bool_]) -> Panel:
        """Return the panel of the rows in `mask`; means are those of its own rows."""
        width = self.design.shape[1] - sum(len(columns) for columns in self.means.values())
        return _with_means(
            Panel(
                self.grain,
                self.outcome,
                self.scale,
                self.y[mask],
                None if self.user is None else self.user[mask],
                None if self.item is None else self.item[mask],
                self.design[mask, :width],
                self.blocks,
                {name: values[mask] for name, values in self.raw.items()},
                randomised=None if self.randomised is None else self.randomised[mask],
                warnings=self.warnings,
            )
        )


def build_panel(data: StudyData, outcome: str, grain: Grain) -> Panel:
    """Build the panel of one outcome at one grain.

    Raises
    ------
    InputError
        If the outcome isn't known at that grain.
    """
    warnings: list[str] = []
    if grain == "exposure":
        y, scale, keep = _event_outcome(data, outcome)
        user: Codes | None = data.events["user"].to_numpy(np.int32)[keep]
        item: Codes | None = data.events["item"].to_numpy(np.int32)[keep]
        rows: dict[str, npt.NDArray[np.int32] | None] = {
            "users": user,
            "items": item,
            "events": np.flatnonzero(keep).astype(np.int32),
        }
        y = y[keep]
        randomised = data.events["randomised"].to_numpy(np.float64)[keep] > 0 if "randomised" in data.events else None
    else:
        table = f"{grain}s"
        y, scale, known = _table_outcome(data, outcome)
        index = np.flatnonzero(known).astype(np.int32)
        y = y[known]
        user = index if grain == "user" else None
        item = index if grain == "item" else None
        rows = {table: index}
        randomised = None
    names = [name for name, a in data.attributes.items() if a.table in rows and a.role != "ignore" and name != outcome]
    parts: list[npt.NDArray[np.float32]] = []
    blocks: dict[str, Block] = {}
    raw: dict[str, Floats] = {}
    start = 0
    for name in names:
        attribute = data.attributes[name]
        column = getattr(data, attribute.table)[attribute.column]
        encoded, levels, pooled, values = _encode(attribute, column)
        if encoded.shape[1] == 0:
            continue
        if pooled:
            warnings.append(say(data.config.study.language, "pooled", count=len(pooled), name=name))
        where = rows[attribute.table]
        parts.append(encoded if where is None else encoded[where])
        raw[name] = values if where is None else values[where]
        blocks[name] = Block(attribute, np.arange(start, start + encoded.shape[1]), levels, pooled)
        start += encoded.shape[1]
    design = np.hstack(parts) if parts else np.zeros((len(y), 0), np.float32)
    panel = Panel(
        grain, outcome, scale, y, user, item, design, blocks, raw, randomised=randomised, warnings=tuple(warnings)
    )
    return _with_means(panel)


def _with_means(panel: Panel) -> Panel:
    """Add the mean of each attribute in every item and user that it varies within (Mundlak 1978).

    With the mean of a cause among the columns adjusted for, a comparison is one within items and users: what is lasting
    in either, measured or not, no longer confounds it.
    """
    if panel.user is None or panel.item is None:
        return panel
    tables = {"users": panel.user, "items": panel.item}
    parts, means, start = [panel.design], {}, panel.design.shape[1]
    for name, block in panel.blocks.items():
        kind, _ = panel.cluster_of(name)
        own: list[npt.NDArray[np.float32]] = []
        for table, codes in tables.items():
            if table != kind:
                counts = np.maximum(np.bincount(codes), 1)
                columns = (np.bincount(codes, weights=panel.design[:, c]) / counts for c in block.columns)
                own.extend(column.astype(np.float32)[codes] for column in columns)
        means[name] = np.arange(start, start + len(own))
        parts.append(np.column_stack(own))
        start += len(own)
    return replace(panel, design=np.hstack(parts), means=means)


def _event_outcome(data: StudyData, outcome: str) -> tuple[Floats, str, npt.NDArray[np.bool_]]:
    """Return an outcome, or a context attribute as one."""
    if outcome in data.outcomes:
        scale: str = data.outcomes[outcome].scale
    elif outcome in data.attributes and data.attributes[outcome].kind in ("numeric", "binary"):
        scale = "probability" if data.attributes[outcome].kind == "binary" else "mean"
    else:
        raise InputError(f"{outcome!r} is not an outcome of this study (outcomes: {', '.join(data.outcomes)})")
    y = np.asarray(data.events[outcome.split(".", 1)[1]].to_numpy(np.float64), np.float64)
    return y, scale, np.isfinite(y)


def _table_outcome(data: StudyData, outcome: str) -> tuple[Floats, str, npt.NDArray[np.bool_]]:
    """Return an attribute as an outcome, or a user's or an item's total of an event outcome over the log."""
    table, column = outcome.split(".", 1)
    frame = data.users if table == "users" else data.items
    if outcome in data.attributes:
        attribute = data.attributes[outcome]
        if attribute.kind not in ("numeric", "binary"):
            raise InputError(f"{outcome!r} is {attribute.kind}: only numeric and binary attributes can be an effect")
        values = frame[column].to_numpy(np.float64)
        return values, "probability" if attribute.kind == "binary" else "mean", np.isfinite(values)
    if f"events.{column}" in data.outcomes and table == "users":
        y = np.nan_to_num(data.events[column].to_numpy(np.float64))
        totals = np.bincount(data.events["user"].to_numpy(), weights=y, minlength=len(data.users))
        return totals.astype(np.float64), "mean", np.ones(len(totals), bool)
    raise InputError(f"{outcome!r} is neither an attribute nor the total of an outcome of this study")


def _encode(
    attribute: Attribute, column: pd.Series[float]
) -> tuple[npt.NDArray[np.float32], tuple[str, ...], tuple[str, ...], Floats]:
    """Encode one column at the level of its table.

    Returns the design columns, the level of each (a missing indicator has level "missing?"), pooled levels, and raw
    values (numeric: as they are; binary: 0/1; categorical and ordinal: code of the level in `levels` + 1, 0 for the
    reference, -1 for missing or pooled; set: NaN).
    """
    if attribute.kind in ("numeric", "binary"):
        values = np.asarray(column.to_numpy(np.float64), np.float64)
        present = np.isfinite(values)
        if attribute.kind == "numeric":
            centre, spread = (values[present].mean(), values[present].std()) if present.any() else (0.0, 0.0)
            if not spread > 1e-12 * max(1.0, abs(centre)):
                return np.zeros((len(values), 0), np.float32), (), (), values
            main: Floats = np.where(present, (values - centre) / spread, 0.0)
        else:
            if len(np.unique(values[present])) < 2:
                return np.zeros((len(values), 0), np.float32), (), (), values
            main = np.where(present, values, 0.0)
        return _with_missing(main[:, None], present, ("",), values)
    if attribute.kind == "set":
        chosen: list[frozenset[str]] = [frozenset(v) if isinstance(v, tuple) else frozenset() for v in column]
        present = np.array([isinstance(v, tuple) for v in column], bool)
        counts = {level: sum(level in c for c in chosen) for level in attribute.levels}
        kept = _kept(counts, len(column))
        columns = np.array([[level in c for level in kept] for c in chosen], np.float64).reshape(len(chosen), len(kept))
        pooled = tuple(level for level in attribute.levels if level not in kept)
        encoded, levels, _, _ = _with_missing(columns, present, kept, np.full(len(column), np.nan))
        return encoded, levels, pooled, np.full(len(column), np.nan)
    text = column.astype(object).to_numpy()
    present = ~pd.isna(text)
    counts = {level: int(np.sum(text[present] == level)) for level in attribute.levels if level != attribute.reference}
    kept = tuple(level for level in attribute.levels if level in _kept(counts, len(text)))
    position = {level: i + 1 for i, level in enumerate(kept)} | {attribute.reference: 0}
    codes = np.array([position.get(v, -1) if p else -1 for v, p in zip(text, present, strict=True)], np.float64)
    pooled = tuple(level for level, count in counts.items() if count and level not in kept)
    if not kept and not pooled:
        return np.zeros((len(text), 0), np.float32), (), (), codes
    columns = (codes[:, None] == np.arange(1, len(kept) + 1)[None, :]).astype(np.float64)
    levels = kept
    if pooled:
        columns = np.column_stack([columns, (codes == -1) & present])
        levels = (*kept, "pooled?")
    encoded, levels, _, _ = _with_missing(columns, present, levels, codes)
    return encoded, levels, pooled, codes


def _kept(counts: dict[str, int], rows: int) -> tuple[str, ...]:
    """Return the levels that stand alone: present, not rare, the most frequent first up to the limit."""
    enough = [level for level, count in counts.items() if 0 < count < rows and count >= min(MIN_LEVEL_ROWS, rows)]
    ranked = sorted(enough, key=lambda level: (-counts[level], level))[:MAX_LEVELS]
    return tuple(level for level in counts if level in set(ranked))


def _with_missing(
    columns: Floats, present: npt.NDArray[np.bool_], levels: Sequence[str], values: Floats
) -> tuple[npt.NDArray[np.float32], tuple[str, ...], tuple[str, ...], Floats]:
    if present.all():
        return columns.astype(np.float32), tuple(levels), (), values
    return np.column_stack([columns, ~present]).astype(np.float32), (*levels, "missing?"), (), values
