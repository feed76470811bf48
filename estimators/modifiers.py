"""Users' attributes as columns that an effect may vary along, and which of them matter one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute

__all__ = ["UserColumn", "UserColumns", "user_columns"]

Floats = npt.NDArray[np.float64]

MIN_USERS = 20
"""Users that a level needs for a column of its own; rarer levels count as the reference."""

MAX_LEVELS = 50
"""Levels of one attribute that get a column, the most frequent ones."""


@dataclass(frozen=True)
class UserColumn:
    """One column: the value of an attribute, one of its levels, or whether it is missing.

    Attributes
    ----------
    attribute, level : what it holds; level "" for a numeric or binary attribute.
    what : "value", "level" or "missing".
    centre, spread : what is taken off, and divided by; what is missing counts as the centre.
    """

    attribute: Attribute
    level: str
    what: Literal["value", "level", "missing"]
    centre: float = 0.0
    spread: float = 1.0

    def of(self, cells: npt.NDArray[np.object_]) -> Floats:
        """Return the column for cells as a study's tables hold them (numbers, levels, tuples; None or NaN missing)."""
        missing = np.array([_is_missing(cell) for cell in cells], bool)
        if self.what == "missing":
            return missing.astype(np.float64)
        if self.what == "value":
            raw = np.array([self.centre if gone else float(cell) for cell, gone in zip(cells, missing, strict=True)])
        elif self.attribute.kind == "set":
            raw = np.array([not gone and self.level in cell for cell, gone in zip(cells, missing, strict=True)])
        else:
            raw = np.array([not gone and cell == self.level for cell, gone in zip(cells, missing, strict=True)])
        values = np.where(missing, self.centre, raw.astype(np.float64))
        return np.asarray((values - self.centre) / self.spread)


@dataclass(frozen=True)
class UserColumns:
    """All columns, in the study's order of attributes and levels."""

    columns: tuple[UserColumn, ...]

    def encode(self, users: pd.DataFrame) -> Floats:
        """Return the columns of a table of users, shape (users, columns); a column it lacks is missing."""
        cells: dict[str, npt.NDArray[np.object_]] = {}
        out = np.zeros((len(users), len(self.columns)))
        for j, column in enumerate(self.columns):
            name = column.attribute.column
            if name not in cells:
                none = np.full(len(users), None, object)
                cells[name] = users[name].astype(object).to_numpy() if name in users else none
            out[:, j] = column.of(cells[name])
        return out

    def importance(self, shares: Floats) -> Mapping[tuple[str, str], float]:
        """Return each attribute's and level's share; that of a missing-value indicator counts for its attribute."""
        out: dict[tuple[str, str], float] = {}
        for column, share in zip(self.columns, shares, strict=True):
            key = column.attribute.name, column.level
            out[key] = out.get(key, 0.0) + float(share)
        return out


def user_columns(users: pd.DataFrame, attributes: Sequence[Attribute], weight: Floats) -> UserColumns:
    """Decide on the columns, from the users that have rows.

    Parameters
    ----------
    users : the study's users.
    attributes : attributes of theirs, in the study's order.
    weight : weight of each user's rows, shape (users,).
    """
    seen = weight > 0
    columns: list[UserColumn] = []
    for attribute in attributes:
        cells = users[attribute.column].astype(object).to_numpy()[seen]
        missing = np.array([_is_missing(cell) for cell in cells], bool)
        known = cells[~missing]
        found = (
            _of_values(attribute, known) if attribute.kind in ("numeric", "binary") else _of_levels(attribute, known)
        )
        if found and min(missing.sum(), len(known)) >= MIN_USERS:
            found.append(UserColumn(attribute, "", "missing"))
        columns.extend(found)
    return UserColumns(tuple(columns))


def _of_values(attribute: Attribute, known: npt.NDArray[np.object_]) -> list[UserColumn]:
    values = known.astype(np.float64)
    if len(values) == 0 or not values.std() > 1e-12 * max(1.0, abs(float(values.mean()))):
        return []
    if attribute.kind == "binary":
        rarer = min(int(np.sum(values == 0)), int(np.sum(values == 1)))
        return [UserColumn(attribute, "", "value", float(values.mean()))] if rarer >= MIN_USERS else []
    return [UserColumn(attribute, "", "value", float(values.mean()), float(values.std()))]


def _of_levels(attribute: Attribute, known: npt.NDArray[np.object_]) -> list[UserColumn]:
    if attribute.kind == "set":
        counts = {level: sum(level in cell for cell in known) for level in attribute.levels}
    else:
        counts = {level: int(np.sum(known == level)) for level in attribute.levels if level != attribute.reference}
    enough = [level for level, count in counts.items() if MIN_USERS <= count <= len(known) - MIN_USERS]
    kept = set(sorted(enough, key=lambda level: (-counts[level], level))[:MAX_LEVELS])
    return [
        UserColumn(attribute, level, "level", counts[level] / len(known)) for level in attribute.levels if level in kept
    ]


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell))
