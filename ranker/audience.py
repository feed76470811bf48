"""Who is ranked for: users of the study by id, or new ones by their attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.errors import NameNotFound, nearest
from whyrank.ranker.features import fill_missing, number_of
from whyrank.ranker.weights import Weights, user_positions

__all__ = ["Audience", "audience"]


@dataclass(frozen=True)
class Audience:
    """The users of one call.

    Attributes
    ----------
    ids : as they are written in the result.
    centred : modifier values less their means, 0 where unknown, shape (users, modifiers).
    positions : positions in the study, -1 for new users.
    table : where attributes stand: the study's users (by position), or the table of new users (row by row).
    """

    ids: npt.NDArray[np.object_]
    centred: npt.NDArray[np.float64]
    positions: npt.NDArray[np.intp]
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.ids)

    def value(self, attribute: Attribute) -> Any:
        """Return the first user's value of an attribute, None if it isn't known."""
        if attribute.column not in self.table:
            return None
        return self.table[attribute.column].iloc[max(self.positions[0], 0)]


def audience(data: StudyData, weights: Weights, users: Sequence[str] | pd.DataFrame | None) -> Audience:
    """Look up users by id (all of them for None), or take new ones from a table of attributes.

    Raises
    ------
    NameNotFound
        If an id, or a column of the table, isn't in the study.
    InputError
        If a value is not one of its attribute's.
    """
    if isinstance(users, pd.DataFrame):
        return _new_users(data, weights, users)
    positions = user_positions(data, users)
    return Audience(data.user_ids[positions], weights.centred[positions], positions, data.users)


def _new_users(data: StudyData, weights: Weights, table: pd.DataFrame) -> Audience:
    key = data.config.users.key
    known = [a.column for a in data.attributes.values() if a.table == "users"]
    table = table.rename(columns=lambda name: str(name).removeprefix("users."))
    for name in table.columns:
        if name != key and name not in known:
            raise NameNotFound(f"no user attribute {name!r} in this study{nearest(name, known)}")
    ids = table[key].astype(str).to_numpy(object) if key in table else np.full(len(table), "new", object)
    centred = np.zeros((len(table), len(weights.modifiers)))
    for m, modifier in enumerate(weights.modifiers):
        if modifier.attribute.column in table:
            given = table[modifier.attribute.column]
            values = [number_of(modifier.attribute, modifier.level, value) for value in given]
            centred[:, m] = fill_missing(np.array(values, np.float64), modifier.mean)
    return Audience(ids, centred, np.full(len(table), -1), table)
