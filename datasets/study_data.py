"""A study as it is in memory: typed attributes, sorted tables, and everything that was left out or is doubtful."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.config import StudyConfig
from whyrank.errors import NameNotFound, nearest

__all__ = ["Attribute", "Finding", "Kind", "Outcome", "Role", "StudyData", "Table"]

Kind = Literal["binary", "categorical", "ordinal", "numeric", "set"]
Role = Literal["any", "confounder", "modifier", "ignore"]
Table = Literal["users", "items", "events"]


@dataclass(frozen=True)
class Attribute:
    """A typed column of users, items or the exposure (context).

    Attributes
    ----------
    name : `users.X`, `items.X` or `events.X`.
    kind, role : as in the study file.
    levels : binary: (reference, level counted as 1); categorical and set: sorted; ordinal: in the order given; numeric:
        empty.
    reference : the level others are compared with; "" for numeric and set.
    description : shown to the model and in reports; "" if the study gives none.
    missing : number of missing values in its table.
    follows : attributes that it is made from, so that it descends from them.
    """

    name: str
    kind: Kind
    role: Role = "any"
    levels: tuple[str, ...] = ()
    reference: str = ""
    description: str = ""
    missing: int = 0
    follows: tuple[str, ...] = ()

    @property
    def table(self) -> Table:
        """The table it lives in."""
        return self.name.split(".", 1)[0]  # type: ignore[return-value]

    @property
    def column(self) -> str:
        """Its column there."""
        return self.name.split(".", 1)[1]


@dataclass(frozen=True)
class Outcome:
    """A behaviour column: `name` is `events.Y`; `scale` is "probability" for 0/1, else "mean"."""

    name: str
    scale: Literal["probability", "mean"]
    description: str = ""

    @property
    def column(self) -> str:
        """Its column in events."""
        return self.name.split(".", 1)[1]


@dataclass(frozen=True)
class Finding:
    """Something a check found: an error stops the run, a warning goes into the report."""

    severity: Literal["error", "warning"]
    code: str
    message: str


@dataclass(frozen=True)
class StudyData:
    """Everything that one study holds, in an order that doesn't depend on the order of rows in the files.

    Attributes
    ----------
    config : the parsed study file; `path` is the file itself.
    users, items : one row per user/item sorted by key; attribute columns are float64 for numeric (NaN missing) and
        binary (0.0/1.0/NaN), ordered or unordered `category` of str for ordinal and categorical, and object columns of
        tuples of str for set. Text columns stay as str. The key is not a column: see `user_ids`, `item_ids`.
    events : one row per exposure in a canonical order, columns `user`, `item` (int32 positions in users/items), `time`
        (datetime64 or NaT, only if the study has it), each outcome (float64), each context attribute (typed as above),
        `propensity` and `randomised` (float64, only if the study has them).
    user_ids, item_ids : arrays of str, aligned with users and items.
    attributes : every attribute by name, in a fixed order (users, items, events; study order of columns).
    outcomes : every outcome by name (`events.Y`), in the study's order.
    texts : item columns that a model may read.
    findings : warnings met on the way in.
    dropped : rows left out, by reason.
    fingerprint : sha256 over the canonical tables and the study file's meaning; equal whatever the row order.
    """

    config: StudyConfig
    path: Path
    users: pd.DataFrame
    items: pd.DataFrame
    events: pd.DataFrame
    user_ids: npt.NDArray[np.object_]
    item_ids: npt.NDArray[np.object_]
    attributes: dict[str, Attribute]
    outcomes: dict[str, Outcome]
    texts: tuple[str, ...]
    findings: tuple[Finding, ...]
    dropped: dict[str, int]
    fingerprint: str

    def attribute(self, name: str) -> Attribute:
        """Return the attribute called `name`.

        Raises
        ------
        NameNotFound
            If the study has none of that name.
        """
        if name not in self.attributes:
            raise NameNotFound(f"no attribute {name!r} in this study{nearest(name, self.attributes)}")
        return self.attributes[name]

    def outcome(self, name: str | None = None) -> Outcome:
        """Return the outcome called `name` (with or without `events.`); without a name, the study's first.

        Raises
        ------
        NameNotFound
            If the study has none of that name.
        """
        if name is None:
            return next(iter(self.outcomes.values()))
        full = name if name.startswith("events.") else f"events.{name}"
        if full not in self.outcomes:
            raise NameNotFound(f"no outcome {name!r} in this study{nearest(full, self.outcomes)}")
        return self.outcomes[full]

    def title(self, item: str) -> str:
        """Return the first text of an item, on which lists go by; "" if the study has none."""
        if not self.texts:
            return ""
        text = self.items[self.texts[0]].iloc[self.item_index[item]]
        return text if isinstance(text, str) else ""

    @cached_property
    def user_index(self) -> dict[str, int]:
        """Position of each user id."""
        return {str(key): i for i, key in enumerate(self.user_ids)}

    @cached_property
    def item_index(self) -> dict[str, int]:
        """Position of each item id."""
        return {str(key): i for i, key in enumerate(self.item_ids)}
