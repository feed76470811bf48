"""A quick look at every edge: how far an adjusted linear association is from zero, for the order of testing only.

One least-squares regression of each effect on all attributes at once, with standard errors clustered by user and item;
all edges of a study come from a few passes over at most 100,000 rows. It is no estimate: what it says decides which
edges are tested first, and never reaches a verdict.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from whyrank.agents.calibration import Signals
from whyrank.agents.client import Progress
from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.datasets.tiers import outcome_totals
from whyrank.edge import Edge
from whyrank.errors import DataError, InputError
from whyrank.estimators.encode import encode
from whyrank.estimators.folded import one_thread
from whyrank.estimators.many import estimate_many

__all__ = ["screen"]

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

ROWS = 100_000
"""Exposures that are looked at, drawn at random where the log has more."""

SMALLEST_P = 1e-300


@dataclass
class _Look:
    """Some rows of one table in numbers: columns by attribute, and what the rows belong to."""

    rows: npt.NDArray[np.intp]
    columns: dict[str, Matrix] = field(default_factory=dict)
    clusters: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)


def screen(data: StudyData, edges: Iterable[Edge], *, progress: Progress | None = None) -> dict[Edge, Signals]:
    """Return the association of each edge that can be looked at cheaply.

    The association of an edge with several levels, or with a modifier of several, is that of the strongest of them
    after a Bonferroni correction for their number. In a log of purchases alone there is none for what happens on an
    exposure, since those that weren't followed by a purchase are unknown.

    Parameters
    ----------
    data : the study.
    edges : what might be tested; one that can't be looked at is left out.
    progress : told how many of them are done.
    """
    wanted = sorted(set(edges), key=lambda edge: (edge.effect, str(edge)))
    tables = {"users": data.users, "items": data.items}
    found: dict[Edge, Signals] = {}
    looks: dict[str, _Look] = {}
    for number, (effect, group) in enumerate(groupby(wanted, key=lambda edge: edge.effect)):
        table = effect.split(".", 1)[0]
        if progress is not None and number == 0:
            progress("looking at edges", 0, len(wanted))
        if table != "events" or data.config.events.kind != "purchases":
            if table not in looks:
                looks = {table: _at_exposures(data) if table == "events" else _at_table(data, tables[table], table)}
            found |= _associations(looks[table], _values(effect, looks[table], data), effect, list(group))
        if progress is not None:
            progress("looking at edges", sum(edge.effect <= effect for edge in wanted), len(wanted))
    return found


def _at_exposures(data: StudyData) -> _Look:
    rows = np.arange(len(data.events))
    if len(rows) > ROWS:
        rng = np.random.default_rng([data.config.study.seed, 3])
        rows = np.sort(rng.choice(len(rows), ROWS, replace=False))
    events = data.events.iloc[rows]
    where = {name: events[name].to_numpy(dtype=np.int64) for name in ("user", "item")}
    look = _Look(rows, clusters=where)
    for attribute in _used(data):
        if attribute.table == "events":
            look.columns[attribute.name] = _encoded(attribute, events[attribute.column])
        else:
            table, at = (data.users, where["user"]) if attribute.table == "users" else (data.items, where["item"])
            look.columns[attribute.name] = _encoded(attribute, table[attribute.column])[at]
    return look


def _at_table(data: StudyData, frame: pd.DataFrame, table: str) -> _Look:
    members = [a for a in _used(data) if a.table == table]
    return _Look(np.arange(len(frame)), {a.name: _encoded(a, frame[a.column]) for a in members})


def _values(effect: str, look: _Look, data: StudyData) -> Vector:
    """The effect's values on the rows that are looked at; a missing one counts as the mean."""
    if effect in data.outcomes:
        values = data.events[data.outcomes[effect].column].to_numpy(dtype=np.float64)[look.rows]
    elif effect in outcome_totals(data):
        outcome = data.events[effect.split(".", 1)[1]].to_numpy(dtype=np.float64)
        values = np.bincount(data.events["user"], weights=np.nan_to_num(outcome), minlength=len(data.users))
    else:
        return look.columns[effect][:, 0] if look.columns[effect].shape[1] else np.zeros(len(look.rows))
    known = np.isfinite(values)
    return np.where(known, values, values[known].mean() if known.any() else 0.0)


def _used(data: StudyData) -> list[Attribute]:
    return [a for a in data.attributes.values() if a.role != "ignore"]


def _encoded(attribute: Attribute, column: pd.Series[float]) -> Matrix:
    return encode(attribute, column).matrix.astype(np.float64)


def _associations(look: _Look, y: Vector, effect: str, edges: Sequence[Edge]) -> dict[Edge, Signals]:
    """Regress one effect on everything at once, and on a product for each edge with a modifier."""
    if np.ptp(y) == 0:
        return {}
    columns: dict[str, Vector] = {}
    own: dict[str | tuple[str, str], list[str]] = {}

    def add(key: str | tuple[str, str], matrix: Matrix) -> None:
        own[key] = [f"{key} {k}" for k in range(matrix.shape[1])]
        columns.update(zip(own[key], matrix.T, strict=True))

    for name, matrix in look.columns.items():
        if name != effect:
            add(name, matrix)
    others = list(columns)
    keys = {edge: (edge.cause, edge.modifier) if edge.modifier else edge.cause for edge in edges}
    for key in keys.values():
        if isinstance(key, tuple) and key not in own and all(name in own for name in key):
            add(key, _products(look.columns[key[0]], look.columns[key[1]]))
    wanted = {edge: own.get(key, []) for edge, key in keys.items()}
    causes = list(dict.fromkeys(column for edge in wanted for column in wanted[edge]))
    p = _p_values(look, y, columns, causes, others) if causes else {}
    found = {}
    for edge, tests in wanted.items():
        told = [p[column] for column in tests if math.isfinite(p[column])]
        if told:
            corrected = min(1.0, min(told) * len(told))
            found[edge] = Signals(association=float(stats.norm.isf(max(corrected, SMALLEST_P) / 2)))
    return found


def _products(cause: Matrix, modifier: Matrix) -> Matrix:
    a, b = cause - cause.mean(axis=0), modifier - modifier.mean(axis=0)
    return np.asarray((a[:, :, None] * b[:, None, :]).reshape(len(a), -1))


def _p_values(
    look: _Look, y: Vector, columns: Mapping[str, Vector], causes: Sequence[str], others: Sequence[str]
) -> dict[str, float]:
    table: dict[str, Any] = {name: columns[name] for name in dict.fromkeys([*causes, *others])}
    table |= {"effect": y, **look.clusters}
    adjust = {cause: [name for name in others if name != cause] for cause in causes}
    clusters = [name for name, codes in look.clusters.items() if len(np.unique(codes)) > 1]
    try:
        with warnings.catch_warnings(), one_thread():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column that others fix has nothing left: no p-value
            told = estimate_many(
                table, causes, ["effect"], adjust, clusters=clusters or None, refuters=(), precision="single"
            )
    except (DataError, InputError):  # fewer rows than columns: then the order goes without
        return dict.fromkeys(causes, math.nan)
    return dict(zip(told["cause"], told["p_value"].astype(float), strict=True))
