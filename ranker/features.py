"""Attribute values as numbers: columns of the catalogue, of the users, and of a context that a caller passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.errors import InputError, nearest

__all__ = ["canonical_value", "column_values", "fill_missing", "number_of", "shown_value"]

Floats = npt.NDArray[np.float64]


def column_values(data: StudyData, attribute: Attribute, level: str) -> Floats:
    """Return h, one number per row of the attribute's table, NaN where it is missing.

    A numeric attribute is its value, a binary one 0 or 1; for a level of a categorical, ordinal or set attribute 1
    where the row has it, else 0.
    """
    column = getattr(data, attribute.table)[attribute.column]
    if attribute.kind in ("numeric", "binary"):
        return np.asarray(column.to_numpy(np.float64))
    if attribute.kind == "set":
        return np.array([float(level in v) if isinstance(v, tuple) else np.nan for v in column], np.float64)
    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = column.cat.categories
        if attribute.kind == "ordinal" and not level:
            values = [float(attribute.levels.index(c)) for c in categories]
        else:
            values = [float(c == level) for c in categories]
        return np.asarray(np.array([*values, np.nan])[column.cat.codes.to_numpy()])
    return np.array([number_of(attribute, level, v) for v in column], np.float64)


def fill_missing(values: Floats, mean: float) -> Floats:
    """Return the values less their mean; what is missing counts as the mean, hence 0."""
    centred = values - mean
    return np.where(np.isnan(centred), 0.0, centred)


def number_of(attribute: Attribute, level: str, value: Any) -> float:
    """Return h for one value as a person would write it (`1`, "yes", "premium", ("a", "b"), 9.99), NaN if missing.

    Raises
    ------
    InputError
        If the value is not one of the attribute's.
    """
    if attribute.kind == "set":
        if isinstance(value, str):
            value = tuple(part.strip() for part in value.split("|"))
        return float(level in value) if isinstance(value, tuple | list | set | frozenset) else np.nan
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return np.nan
    if attribute.kind == "numeric":
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise InputError(f"{attribute.name!r} must be a number, got {value!r}") from None
        if not np.isfinite(number):
            raise InputError(f"{attribute.name!r} must be a finite number, got {value!r}")
        return number
    text = _as_level(attribute, value)
    if attribute.kind == "binary":
        return float(text == attribute.levels[1])
    if attribute.kind == "ordinal" and not level:
        return float(attribute.levels.index(text))
    return float(text == level)


def _as_level(attribute: Attribute, value: Any) -> str:
    """Return the level that a value means; 0/1 and true/false always mean the levels of a binary attribute."""
    candidates = [str(value).strip()]
    whole = candidates[0].removesuffix(".0")
    if whole.isdecimal():  # a column of whole numbers with a gap is written 1.0, 0.0
        candidates.append(whole)
    folded = {level.casefold(): level for level in attribute.levels}
    for candidate in candidates:
        if candidate in attribute.levels:
            return candidate
        if candidate.casefold() in folded:
            return folded[candidate.casefold()]
        if attribute.kind == "binary" and candidate.casefold() in ("0", "false", "no", "1", "true", "yes"):
            return attribute.levels[int(candidate.casefold() in ("1", "true", "yes"))]
    raise InputError(
        f"{attribute.name!r} has no level {candidates[0]!r}{nearest(candidates[0], attribute.levels)}: "
        f"expected one of {', '.join(map(repr, attribute.levels))}"
    )


def canonical_value(attribute: Attribute, value: Any) -> Any:
    """Return a value as the study's tables hold it: a number, a level, a tuple, or None if it is missing.

    Raises
    ------
    InputError
        If the value is not one of the attribute's.
    """
    if attribute.kind == "set":
        if isinstance(value, str):
            value = [part.strip() for part in value.split("|")]
        if not isinstance(value, tuple | list | set | frozenset):
            return None
        return tuple(sorted({_as_level(attribute, part) for part in value if part != ""}))
    number = number_of(attribute, "", value)
    if np.isnan(number):
        return None
    return number if attribute.kind in ("numeric", "binary") else _as_level(attribute, value)


def shown_value(attribute: Attribute, value: Any) -> str:
    """Return a stored value as a reader knows it: a binary 1.0 as its level, a number without noise."""
    if isinstance(value, tuple):
        return ", ".join(value)
    if value is None or pd.isna(value):
        return "missing"
    if attribute.kind == "binary" and isinstance(value, float | int):
        return attribute.levels[int(value)]
    return f"{value:.6g}" if isinstance(value, float) else str(value)
