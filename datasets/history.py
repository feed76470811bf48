"""What a user had done before each exposure, as context attributes: counts, shares by category, outcomes, gaps.

Every feature of a row is computed from the same user's rows with a strictly earlier time, so that no later row, nor one
of the same moment, can change it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.config import StudyConfig
from whyrank.datasets.entities import Entities
from whyrank.datasets.log import Log
from whyrank.datasets.problems import Problems
from whyrank.datasets.study_data import Attribute
from whyrank.errors import nearest

__all__ = ["Past", "add_history", "past_features"]

Floats = npt.NDArray[np.float64]
Column: TypeAlias = "pd.Series[Any]"

TAGS = 10
"""Levels of a category that get a share of their own: the most frequent ones, the reference left out."""

_DAY = 86_400_000_000
_NO_WORD = re.compile(r"\W+")


@dataclass(frozen=True)
class Past:
    """One feature of a user's past.

    Attributes
    ----------
    name : column of the events, e.g. `past_share_category`.
    values : shape (rows,); NaN where there was nothing earlier to compute it from.
    description : what it is.
    of_item : the item attribute that it compares the past with, so that the feature follows from it; "" if none.
    """

    name: str
    values: Floats
    description: str
    of_item: str = ""


def add_history(config: StudyConfig, users: Entities, items: Entities, log: Log, problems: Problems) -> Log:
    """Return the log with the features that `events.history` asks for, as confounders unless the study says otherwise.

    They follow from the users' attributes: an effect of those runs through what the user did, so there the features
    aren't adjusted for.
    """
    if not config.events.history:
        return log
    columns: dict[str, tuple[Attribute, Column]] = {}
    for name in config.events.history:
        attribute = items.attributes.get(name)
        if attribute is None:
            problems.error("unknown-name", f"events.history names {name!r}, which is no attribute{_near(name, items)}")
        elif attribute.kind == "numeric":
            problems.error("history", f"events.history names {name!r}, which is numeric; expected a category")
        else:
            columns[name] = attribute, items.frame[attribute.column]
    if len(columns) < len(config.events.history):
        return log
    frame, attributes = log.frame.copy(deep=False), dict(log.attributes)
    taken = {*frame.columns, *log.ignored}
    for past in past_features(frame, columns, [o.column for o in log.outcomes.values()]):
        if past.name in taken:
            problems.error(
                "history", f"events.history makes a column {past.name!r}, which {log.label} has already; rename it"
            )
            continue
        full = f"events.{past.name}"
        spec = config.attributes.get(full)
        frame[past.name] = past.values
        attributes[full] = Attribute(
            full,
            "numeric",
            role=spec.role if spec and "role" in spec.model_fields_set else "confounder",
            description=(spec.description if spec else "") or past.description,
            missing=int(np.isnan(past.values).sum()),
            follows=(*users.attributes, *([past.of_item] if past.of_item else [])),
        )
    for name in config.attributes:
        if name.startswith("events.past_") and name not in attributes:
            made = [known for known in attributes if known.startswith("events.past_")]
            problems.error(
                "unknown-name", f'[attributes."{name}"] is no column that events.history makes{nearest(name, made)}'
            )
    return replace(log, frame=frame, attributes=attributes)


def _near(name: str, items: Entities) -> str:
    return f" of {items.label}{nearest(name, items.attributes)}"


def past_features(
    events: pd.DataFrame, columns: dict[str, tuple[Attribute, Column]], outcomes: list[str]
) -> Iterator[Past]:
    """Compute the features of every row; O(n log n) for n rows.

    Parameters
    ----------
    events : columns `user`, `item`, `time` and the outcomes.
    columns : item attributes by name: what they are, and their value for each item.
    outcomes : columns of the events.

    Yields
    ------
    Past
        `past_count` (earlier rows), `past_gap` (days since the last of them), `past_Y` (their mean outcome Y); and for
        each attribute A `past_share_A_L` (share of them with level L: an interest tag) and, unless A is a set,
        `past_share_A` (share with the value of this row's item), `past_gap_A` (days since the last such row) and
        `past_Y_A` (mean outcome of such rows).
    """
    user, item = events["user"].to_numpy(np.int64), events["item"].to_numpy()
    time = events["time"].to_numpy("datetime64[us]")
    known, moment = ~np.isnat(time), time.astype(np.int64)
    y = {name: events[name].to_numpy(np.float64) for name in outcomes}
    earlier = _Earlier(user, moment, known)
    yield Past("past_count", earlier.count, "the user's earlier rows in the log")
    yield Past("past_gap", earlier.gap(), "days since the user's last earlier row")
    for name, values in y.items():
        yield Past(f"past_{name}", earlier.mean(values), f"mean {name} of the user's earlier rows")
    for full, (attribute, column) in columns.items():
        short = attribute.column
        if attribute.kind != "set":
            code = _codes(attribute, column)[item]
            alike = _Earlier(user * (len(attribute.levels) + 1) + code, moment, known & (code >= 0))
            share = _divided(alike.count, earlier.count)
            yield Past(f"past_share_{short}", share, f"share of the user's earlier rows with this {short}", full)
            yield Past(f"past_gap_{short}", alike.gap(), f"days since the user's last row with this {short}", full)
            for name, values in y.items():
                said = f"mean {name} of the user's earlier rows with this {short}"
                yield Past(f"past_{name}_{short}", alike.mean(values), said, full)
        for level, has in _often(attribute, column, item):
            said = f"share of the user's earlier rows with {short} {level}"
            yield Past(f"past_share_{short}_{_NO_WORD.sub('_', level)}", earlier.mean(has[item]), said)


def _often(
    attribute: Attribute, column: Column, item: npt.NDArray[np.int32]
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Yield the most frequent levels but the reference, in the study's order, and which items have each."""
    if attribute.kind == "set":
        has = {level: np.array([level in v if isinstance(v, tuple) else False for v in column], np.float64)
               for level in attribute.levels}  # fmt: skip
    else:
        codes = _codes(attribute, column)
        has = {level: (codes == k).astype(np.float64) for k, level in enumerate(attribute.levels)}
    rows = np.bincount(item, minlength=len(column)).astype(np.float64)
    counts = {level: float(rows @ of) for level, of in has.items() if level != attribute.reference}
    kept = set(sorted(counts, key=lambda level: (-counts[level], level))[:TAGS])
    yield from ((level, has[level]) for level in attribute.levels if level in kept and counts[level] > 0)


def _codes(attribute: Attribute, column: Column) -> npt.NDArray[np.int64]:
    """Return each item's level as a number, -1 where it is missing."""
    if attribute.kind == "binary":
        values = column.to_numpy(np.float64)
        return np.where(np.isnan(values), -1, values).astype(np.int64)
    return np.asarray(pd.Categorical(column, categories=pd.Index(attribute.levels, dtype=object)).codes, np.int64)


def _divided(above: Floats, below: Floats) -> Floats:
    whole = np.isfinite(above) & (below > 0)
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=whole))


class _Earlier:
    """The rows of the same group with a strictly earlier time, for every row at once.

    Parameters
    ----------
    group, moment : shape (n,).
    known : rows that count, as a past and as a present; the others get NaN.
    """

    def __init__(self, group: npt.NDArray[np.int64], moment: npt.NDArray[np.int64], known: npt.NDArray[np.bool_]):
        rows = np.flatnonzero(known)
        self._n = len(group)
        self._order = rows[np.lexsort((moment[rows], group[rows]))]
        g, m = group[self._order], moment[self._order]
        place = np.arange(len(g))
        new_group = np.append(True, g[1:] != g[:-1])[: len(g)]
        new_moment = np.append(True, m[1:] != m[:-1])[: len(g)] | new_group
        self._first = place[np.maximum.accumulate(np.where(new_group, place, 0))]
        self._until = place[np.maximum.accumulate(np.where(new_moment, place, 0))]
        self._moment = m
        self.count: Floats = self._back((self._until - self._first).astype(np.float64))

    def _back(self, values: Floats) -> Floats:
        out = np.full(self._n, np.nan)
        out[self._order] = values
        return out

    def gap(self) -> Floats:
        """Return the days since the last earlier row."""
        any_earlier = self._until > self._first
        last = self._moment[np.maximum(self._until - 1, 0)]
        return self._back(np.where(any_earlier, (self._moment - last) / _DAY, np.nan))

    def mean(self, values: Floats) -> Floats:
        """Return the mean of `values` (NaN doesn't count) over the earlier rows."""
        here = values[self._order]
        present = np.isfinite(here)
        counts = self._sum(present.astype(np.float64))
        return self._back(_divided(self._sum(np.where(present, here, 0.0)), counts))

    def _sum(self, values: Floats) -> Floats:
        run = np.append(0.0, np.cumsum(values))
        return np.asarray(run[self._until] - run[self._first])
