"""What a column of texts is: its kind, its levels, its numbers. One set of rules for every file and for `init`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from whyrank.config import AttributeConfig
from whyrank.datasets.study_data import Kind
from whyrank.datasets.tables import TextColumn
from whyrank.datasets.times import looks_like_dates
from whyrank.errors import DataError, nearest

__all__ = ["Guess", "Numbers", "Typed", "guess_kind", "is_switch", "parse_numbers", "type_column"]

_PLAIN = r"^[+-]?(0|[1-9]\d*|\d*\.\d+|(0|[1-9]\d*)\.)([eE][+-]?\d+)?$"
_COMMA = r"^[+-]?\d+,\d+$"
_INFINITE = r"^[+-]?(inf|infinity)$"
_ONES = ("1", "true", "yes")
_PAIRS = (("0", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))

MOSTLY = 0.9
"""Share of a column's cells that must be numbers for the rest to count as missing rather than all as text."""
FEW = 20
"""Texts with at most this many distinct values are levels, whatever the number of rows."""
LONG = 40.0
"""Mean length from which many different texts are prose."""


@dataclass(frozen=True)
class Numbers:
    """The distinct values of a column as numbers.

    Attributes
    ----------
    values : one float a distinct value; NaN where it is not a finite number.
    finite, infinite : which of them are.
    comma : whether decimal commas were read as points.
    """

    values: npt.NDArray[np.float64]
    finite: npt.NDArray[np.bool_]
    infinite: npt.NDArray[np.bool_]
    comma: bool

    @property
    def all(self) -> bool:
        """Whether there is a value and every one is a number, infinite ones included."""
        return len(self.values) > 0 and bool((self.finite | self.infinite).all())


@dataclass(frozen=True)
class Guess:
    """A kind, or none for what cannot be an attribute, and why."""

    kind: Kind | None
    why: str


@dataclass(frozen=True)
class Typed:
    """A column with its type.

    Attributes
    ----------
    kind, levels, reference : as in `Attribute`.
    data : float64 for numeric and binary, a pandas Categorical, or an object array of tuples for a set.
    missing : number of missing cells.
    notes : what is doubtful, as clauses without the name of the column.
    """

    kind: Kind
    data: npt.NDArray[np.float64] | pd.Categorical | npt.NDArray[np.object_]
    levels: tuple[str, ...]
    reference: str
    missing: int
    notes: tuple[tuple[str, str], ...] = ()


def parse_numbers(values: pa.StringArray, *, decimal_comma: bool = False) -> Numbers:
    """Read distinct texts as numbers; `007` is a code and no number."""
    comma = False
    if decimal_comma:
        with_comma = pc.match_substring_regex(values, _COMMA)
        if pc.any(with_comma).as_py():
            comma = True
            values = pc.if_else(with_comma, pc.replace_substring(values, ",", "."), values)
    finite = pc.match_substring_regex(values, _PLAIN).to_numpy(zero_copy_only=False).astype(bool)
    infinite = np.zeros(len(values), dtype=bool)
    numbers = np.full(len(values), np.nan)
    plain = values
    if not finite.all():
        rest = values.filter(pa.array(~finite))
        infinite[~finite] = pc.match_substring_regex(rest, _INFINITE, ignore_case=True).to_numpy(zero_copy_only=False)
        plain = values.filter(pa.array(finite))
    if pc.any(pc.starts_with(plain, "+")).as_py():
        plain = pc.utf8_ltrim(plain, "+")
    numbers[finite] = plain.cast(pa.float64()).to_numpy(zero_copy_only=False)
    too_large = finite & np.isinf(numbers)
    numbers[too_large] = np.nan
    return Numbers(numbers, finite & ~too_large, infinite | too_large, comma)


def is_switch(values: pa.StringArray) -> bool:
    """Tell whether the values are 0/1, true/false or yes/no in any spelling, two at most."""
    folded = set(pc.utf8_lower(values).to_pylist())
    return bool(folded) and any(folded <= set(pair) for pair in _PAIRS)


def guess_kind(column: TextColumn, name: str, *, decimal_comma: bool = False) -> Guess:
    """Infer what a column is.

    Parameters
    ----------
    name
        Name of the column; `id` at its end makes a column of distinct integers a key.
    decimal_comma
        Whether `3,14` may be a number.
    """
    values, rows = column.values, len(column) - column.missing
    distinct = len(values)
    if not distinct:
        return Guess(None, "it holds no values")
    if is_switch(values):
        return Guess("binary", "two truth values")
    numbers = parse_numbers(values, decimal_comma=decimal_comma)
    if set(numbers.values.tolist()) <= {0.0, 1.0}:
        return Guess("binary", "0/1")
    if numbers.all:
        if name.lower().endswith("id") and distinct == rows and not (numbers.values % 1).any():
            return Guess(None, "it looks like a key (a different integer in every row)")
        return Guess("numeric", "numbers")
    share = _cells(column, numbers.finite | numbers.infinite) / rows
    if share >= MOSTLY and numbers.finite.sum() > 2:
        return Guess("numeric", f"{share:.1%} of its values are numbers")
    if looks_like_dates(values):
        return Guess(None, "it holds dates")
    if distinct == 2:
        return Guess("binary", "two levels")
    return _guess_text(column, distinct, rows)


def _guess_text(column: TextColumn, distinct: int, rows: int) -> Guess:
    values = column.values
    weights = np.bincount(column.codes[column.codes >= 0], minlength=distinct)
    length = float((pc.utf8_length(values).to_numpy() * weights).sum() / rows)
    barred = pc.match_substring(values, "|").to_numpy(zero_copy_only=False)
    if distinct > 2 and (barred * weights).sum() >= 0.1 * rows and length <= 4 * LONG:
        split = [part.strip() for text in values.to_pylist() for part in text.split("|")]
        parts = set(split)
        if len(parts) < 0.75 * len(split):  # the same values come again in other company
            return Guess("set", f"several values in one cell, {len(parts)} in all")
    if distinct > FEW and length > LONG:
        return Guess(None, "it holds free text")
    if (distinct == rows and rows >= 5) or (distinct > FEW and distinct > rows / 2):
        return Guess(None, "almost every row has a text of its own, like a name or a key")
    return Guess("categorical", f"{distinct} levels")


def _cells(column: TextColumn, chosen: npt.NDArray[np.bool_]) -> int:
    """Count the cells whose value is chosen."""
    return int(np.append(chosen, False)[column.codes].sum())


def type_column(
    column: TextColumn,
    kind: Kind,
    spec: AttributeConfig | None,
    *,
    where: str,
    rows: npt.NDArray[np.int64],
    decimal_comma: bool = False,
) -> Typed:
    """Turn a column of texts into data of a kind.

    Parameters
    ----------
    spec
        What the study file says about the attribute, if anything.
    where
        How messages name file and column.
    rows
        Row number in the file of each row of the column.

    Raises
    ------
    DataError
        If the values cannot be of that kind.
    """
    spec = spec or AttributeConfig()
    numbers = parse_numbers(column.values, decimal_comma=decimal_comma)
    if kind == "numeric":
        typed = _numeric(column, numbers, spec, where, rows)
    elif kind == "set":
        typed = _set(column, spec)
    else:
        column = _canonical_levels(column, numbers)
        if kind == "binary" and len(column.values) <= 2:
            typed = _binary(column, spec, where)
        elif kind == "binary":
            shown = ", ".join(map(repr, column.values.to_pylist()[:5]))
            raise DataError(f"{where}: a binary attribute has two levels, got {len(column.values)} ({shown}, ...)")
        else:
            typed = _levels(column, kind, spec, where, rows, numeric=numbers.all)
    if numbers.comma and numbers.all and kind != "set":
        typed = replace(typed, notes=(*typed.notes, ("decimal-comma", "decimal commas are read as points")))
    return typed


def _numeric(
    column: TextColumn, numbers: Numbers, spec: AttributeConfig, where: str, rows: npt.NDArray[np.int64]
) -> Typed:
    notes = []
    truth = {pair[i]: float(i) for pair in _PAIRS[1:3] for i in (0, 1)}
    if is_switch(column.values) and not numbers.all:
        values = np.array([truth.get(text.lower(), np.nan) for text in column.values.to_pylist()])
        numbers = Numbers(values, np.isfinite(values), np.zeros(len(values), dtype=bool), comma=False)
    other = ~numbers.finite & ~numbers.infinite
    if other.any():
        shown, count = _first(column, other, rows)
        if spec.kind == "numeric":
            raise DataError(f"{where}: expected numbers, got {count} values that are none ({shown})")
        notes.append(("not-numbers", f"{count} values are not numbers ({shown}) and count as missing"))
    if numbers.infinite.any():
        shown, count = _first(column, numbers.infinite, rows)
        notes.append(("infinite", f"{count} values are infinite ({shown}) and count as missing"))
    data = np.append(numbers.values + 0.0, np.nan)[column.codes]
    return Typed("numeric", data, (), "", int(np.isnan(data).sum()), tuple(notes))


def _first(column: TextColumn, chosen: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64]) -> tuple[str, int]:
    """Show the first cells whose value is chosen, with their row numbers, and count them all."""
    found = np.flatnonzero(np.append(chosen, False)[column.codes])
    found = found[np.argsort(rows[found], kind="stable")]
    shown = ", ".join(f"row {rows[i]}: {_short(column.values[int(column.codes[i])].as_py())}" for i in found[:3])
    return shown, len(found)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _canonical_levels(column: TextColumn, numbers: Numbers) -> TextColumn:
    """Write levels that are all numbers in one way (1.0 as 1), and truth values in lower case."""
    if numbers.all and not numbers.infinite.any():
        return _relabel(column, [_number_text(value) for value in numbers.values.tolist()])
    folded = pc.utf8_lower(column.values).to_pylist()
    if is_switch(column.values) and (len(column.values) > 2 or set(folded) <= {"true", "false"}):
        return _relabel(column, folded)
    return column.sorted()


def _relabel(column: TextColumn, names: list[str]) -> TextColumn:
    encoded = pa.array(names, type=pa.string()).dictionary_encode()
    position = np.append(encoded.indices.to_numpy(), -1).astype(np.int32)
    return TextColumn(position[column.codes], encoded.dictionary).sorted()


def _number_text(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _reference(spec: AttributeConfig, levels: list[str], where: str, *, numeric: bool = False) -> str | None:
    if spec.reference is None:
        return None
    given = _as_level(spec.reference, numeric=numeric)
    for level in levels:
        if level == given or (level in ("true", "false") and given.lower() == level):
            return level
    raise DataError(
        f"{where}: the reference {spec.reference!r} is not one of its levels{nearest(given, levels)}; they are "
        f"{', '.join(map(repr, levels[:10]))}"
    )


def _as_level(text: str, *, numeric: bool) -> str:
    if numeric:
        number = parse_numbers(pa.array([text]))
        if number.all:
            return _number_text(float(number.values[0]))
    return text


def _binary(column: TextColumn, spec: AttributeConfig, where: str) -> Typed:
    found = column.values.to_pylist()
    levels = list(found)
    if len(levels) == 1:
        other = [pair[1 - pair.index(levels[0].lower())] for pair in _PAIRS if levels[0].lower() in pair]
        levels = sorted([*levels, *(other or [""])])
    if not levels:
        levels = ["0", "1"]
    ones = [level for word in _ONES for level in levels if level.lower() == word]
    one = ones[0] if ones else levels[-1]
    reference = _reference(spec, found, where, numeric=True)
    if reference is not None:
        one = next(level for level in levels if level != reference)
    zero = next(level for level in levels if level != one)
    position = np.array([*(float(level == one) for level in found), np.nan])
    return Typed("binary", position[column.codes], (zero, one), zero, column.missing)


def _levels(
    column: TextColumn, kind: Kind, spec: AttributeConfig, where: str, rows: npt.NDArray[np.int64], *, numeric: bool
) -> Typed:
    levels = column.values.to_pylist()
    codes = column.codes
    if kind == "ordinal":
        order = [_as_level(level, numeric=numeric) for level in spec.levels]
        unknown = ~pc.is_in(column.values, value_set=pa.array(order, type=pa.string())).to_numpy(zero_copy_only=False)
        if unknown.any():
            shown, count = _first(column, unknown, rows)
            raise DataError(f"{where}: {count} values are not among its levels {order!r} ({shown})")
        position = np.array([*(order.index(level) for level in levels), -1], dtype=np.int32)
        levels, codes = order, position[codes]
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    reference = _reference(spec, levels, where, numeric=numeric)
    if reference is None:
        reference = levels[int(counts.argmax())] if levels else ""
    data = pd.Categorical.from_codes(codes, categories=pd.Index(levels, dtype=object), ordered=kind == "ordinal")
    return Typed(kind, data, tuple(levels), reference, column.missing)


def _set(column: TextColumn, spec: AttributeConfig) -> Typed:
    """Split cells into sorted tuples; an empty cell is the empty set, which is not missing."""
    values = np.empty(len(column.values) + 1, dtype=object)
    for i, text in enumerate(column.values.to_pylist()):
        values[i] = tuple(sorted({part.strip() for part in text.split(spec.sep)} - {""}))
    values[-1] = ()
    levels = tuple(sorted({part for cell in values for part in cell}))
    return Typed("set", values[column.codes], levels, "", 0)
