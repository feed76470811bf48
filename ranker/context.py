"""The context to score for: one value for all items, or a plan that gives each item its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.errors import InputError, NameNotFound, nearest
from whyrank.ranker.features import canonical_value, fill_missing, number_of
from whyrank.ranker.weights import Term

__all__ = ["Context", "ContextLike", "read_context"]

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Context:
    """A context whose names and values are checked; a ranker takes it wherever it takes a context.

    Attributes
    ----------
    shared : the value that all items have, by full name (`events.X`); None where nothing is known.
    by_item : one value per item of the study, by full name; None where nothing is known.
    """

    shared: Mapping[str, Any]
    by_item: Mapping[str, Objects]

    def of(self, position: int) -> dict[str, Any]:
        """Return the context in which the item at `position` is seen."""
        return {**self.shared, **{name: values[position] for name, values in self.by_item.items()}}

    def shared_h(self, terms: Sequence[Term]) -> dict[int, float]:
        """Return the value less its mean of each term that all items share; 0 where it is missing."""
        return {
            k: float(_h(term, _objects([self.shared[term.attribute.name]]))[0])
            for k, term in enumerate(terms)
            if term.attribute.name in self.shared
        }

    def item_h(self, terms: Sequence[Term], items: slice = slice(None)) -> dict[int, Floats]:
        """Return the values less their mean, shape (items,), of each term that differs by item; 0 where missing."""
        return {
            k: _h(term, self.by_item[term.attribute.name][items])
            for k, term in enumerate(terms)
            if term.attribute.name in self.by_item
        }


ContextLike = Mapping[str, Any] | pd.DataFrame | Context
"""What is taken as a context: values by name, a table with a row per item, or one that is checked already."""


def read_context(data: StudyData, context: ContextLike | None, rest: Mapping[str, Any] | None = None) -> Context:
    """Check a context's names and values.

    Parameters
    ----------
    data
        The study.
    context
        Values by name, with or without `events.`, for all items; or a table with the item's id in `item_id` (or in a
        column called like the key of the study's items) and a column per attribute. Items that the table doesn't list
        and empty cells are not known.
    rest
        Values for what `context` doesn't give: other attributes, other items, empty cells.

    Raises
    ------
    NameNotFound
        If an item or an attribute of the context isn't in the study.
    InputError
        If a value is not one of its attribute's, or a table has no column of items or an item twice.
    """
    if isinstance(context, Context):
        found = context
    elif isinstance(context, pd.DataFrame):
        found = Context({}, _by_item(data, context))
    elif context is None or isinstance(context, Mapping):
        found = Context(_shared(data, context or {}), {})
    else:
        raise InputError(f"a context is a mapping or a DataFrame, got {type(context).__name__}")
    if not rest:
        return found
    default = _shared(data, rest)
    filled = {name: _filled(values, default.get(name)) for name, values in found.by_item.items()}
    return Context({**{n: v for n, v in default.items() if n not in filled}, **found.shared}, filled)


def _shared(data: StudyData, context: Mapping[str, Any]) -> dict[str, Any]:
    attributes = _attributes(data, list(context))
    return {a.name: canonical_value(a, value) for a, value in zip(attributes, context.values(), strict=True)}


def _attributes(data: StudyData, names: Sequence[Any]) -> list[Attribute]:
    """Return the context attributes of these names, each once."""
    known = [name for name, a in data.attributes.items() if a.table == "events"]
    found: list[Attribute] = []
    for given in names:
        name = f"events.{str(given).removeprefix('events.')}"
        if name not in known:
            listed = f": expected one of {', '.join(known)}" if known else ": this study has none"
            raise NameNotFound(f"no context attribute {given!r}{nearest(name, known)}{listed}")
        if data.attributes[name] in found:
            raise InputError(f"the context attribute {name!r} is given twice")
        found.append(data.attributes[name])
    return found


def _by_item(data: StudyData, table: pd.DataFrame) -> dict[str, Objects]:
    key = data.config.items.key
    if table.columns.has_duplicates:
        raise InputError(f"the context's column {table.columns[table.columns.duplicated()][0]!r} stands twice")
    column = next((name for name in (key, "item_id") if name in table.columns), None)
    if column is None:
        names = " or ".join(map(repr, dict.fromkeys((key, "item_id"))))
        raise InputError(
            f"the context has no column of items: expected {names}, got {', '.join(map(repr, table.columns))}"
        )
    values = table.drop(columns=column)
    attributes = _attributes(data, list(values.columns))
    ids = table[column].to_numpy(object)
    positions = _positions(data, ids)
    found = {}
    for attribute, name in zip(attributes, values.columns, strict=True):
        cells = np.full(len(data.items), None, object)
        cells[positions] = _canonical(attribute, values[name].to_numpy(object), ids)
        found[attribute.name] = cells
    return found


def _positions(data: StudyData, ids: Objects) -> npt.NDArray[np.intp]:
    positions = np.full(len(ids), -1, np.intp)
    row_of: dict[int, int] = {}
    for row, given in enumerate(ids):
        if given is None or given is pd.NA or given != given:
            raise InputError(f"row {row + 1} of the context names no item")
        # a column of whole numbers with a gap is one of floats
        item = str(int(given)) if isinstance(given, float) and given.is_integer() else str(given)
        position = data.item_index.get(item)
        if position is None:
            near = [known for known in data.item_index if known[:1] == item[:1]][:20_000]
            raise NameNotFound(f"no item {item!r} in this study{nearest(item, near)}: row {row + 1} of the context")
        if position in row_of:
            raise InputError(f"item {item!r} stands twice in the context: rows {row_of[position] + 1} and {row + 1}")
        row_of[position] = row
        positions[row] = position
    return positions


def _canonical(attribute: Attribute, values: Objects, ids: Objects) -> Objects:
    """Return the values as the study's tables hold them, None for missing ones; each distinct value is read once."""
    if attribute.kind == "set":
        values = _objects([tuple(v) if isinstance(v, list | set | frozenset) else v for v in values])

    codes, distinct = pd.factorize(values)
    known = []
    for code, value in enumerate(distinct):
        try:
            known.append(canonical_value(attribute, value))
        except InputError as error:
            raise InputError(f"{error} (item {str(ids[codes.tolist().index(code)])!r} of the context)") from None
    return _objects([*known, None])[codes]


def _h(term: Term, values: Objects) -> Floats:
    codes, distinct = pd.factorize(values)  # code -1 for what is missing
    numbers = np.array([*(number_of(term.attribute, term.level, value) for value in distinct), np.nan], np.float64)
    return fill_missing(numbers[codes], term.mean)


def _filled(values: Objects, default: Any) -> Objects:
    if default is None:
        return values
    filled = values.copy()
    for position, value in enumerate(values):
        if value is None:
            filled[position] = default
    return filled


def _objects(values: Sequence[Any]) -> Objects:
    """Return a one-dimensional array, of tuples too."""
    out = np.empty(len(values), object)
    for i, value in enumerate(values):
        out[i] = value
    return out
