"""The users and items tables: keys checked, columns typed, rows sorted by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.config import AttributeConfig, StudyConfig
from whyrank.datasets.infer import Typed, guess_kind, type_column
from whyrank.datasets.problems import Problems, show_rows
from whyrank.datasets.study_data import Attribute
from whyrank.datasets.tables import Source, TextColumn, open_table, read_columns
from whyrank.datasets.times import parse_times
from whyrank.errors import DataError, nearest

__all__ = ["Entities", "as_series", "describe_attribute", "load_entities", "type_attributes"]

_LONG_TEXT = 100_000


@dataclass(frozen=True)
class Entities:
    """A users or items table, sorted by key.

    Attributes
    ----------
    label : how messages name the file.
    ids : the keys.
    frame : typed attributes, texts and dates, a row a key.
    attributes : by name, in the file's order.
    ignored : columns that are no attribute, with the reason.
    """

    label: str
    ids: npt.NDArray[np.object_]
    frame: pd.DataFrame
    attributes: dict[str, Attribute]
    ignored: dict[str, str]


def load_entities(
    config: StudyConfig,
    table: Literal["users", "items"],
    problems: Problems,
    *,
    made: Callable[[str], bool] = lambda column: False,
) -> Entities | None:
    """Read and check the users or the items; None if an error makes the table unusable.

    Parameters
    ----------
    made
        Whether a column that the study file names and the table lacks is made later on.
    """
    section = config.users if table == "users" else config.items
    with open_table(config.table_paths[table], section.table, label=section.path) as source:
        problems.findings.extend(source.findings)
        _check_declared(config, table, source.columns, source.label, problems, made)
        specs = {column: config.attributes.get(f"{table}.{column}") for column in source.columns}
        separators = {column: spec.sep for column, spec in specs.items() if spec is not None}
        names = [name for name in source.columns if name]
        if len(names) < len(source.columns):
            problems.warn("unnamed-column", f"{source.label}: a column without a name is ignored")
        columns = read_columns(source, list(dict.fromkeys(names)), separators=separators)
        if section.key not in columns:
            read_columns(source, [section.key])
    key = columns.pop(section.key).sorted()
    where = f"{source.label}, column {section.key!r}"
    kept = _check_keys(key, columns, table, where, problems)
    rows = (kept + 1).astype(np.int64)
    key = key.take(kept)
    columns = {name: column.take(kept) for name, column in columns.items()}
    frame: dict[str, Any] = {}
    dates = {config.items.available_from, config.items.available_to} if table == "items" else set()
    texts = config.items.text if table == "items" else ()
    candidates: dict[str, TextColumn] = {}
    for name, column in columns.items():
        if name in texts:
            frame[name] = _text(column, f"{source.label}, column {name!r}", rows, problems)
        elif name in dates:
            with problems.catching("dates"):
                frame[name] = parse_times(column, where=f"{source.label}, column {name!r}", rows=rows).data
        else:
            candidates[name] = column
    attributes, typed, ignored = type_attributes(config, table, candidates, source, rows, problems)
    for name in columns:
        if name in typed:
            frame[name] = typed[name].data
    data = {name: as_series(frame[name]) for name in columns if name in frame}
    return Entities(source.label, key.texts(), pd.DataFrame(data, index=pd.RangeIndex(len(kept))), attributes, ignored)


def as_series(values: Any) -> pd.Series[Any]:
    """Return a column that keeps its type: pandas would turn objects that are texts into its own strings."""
    if isinstance(values, np.ndarray) and values.dtype == object:
        return pd.Series(values, dtype=object)
    return pd.Series(values)


def _check_declared(
    config: StudyConfig,
    table: Literal["users", "items"],
    columns: Iterable[str],
    label: str,
    problems: Problems,
    made: Callable[[str], bool],
) -> None:
    """Report columns that the study file names and the table doesn't have."""
    columns = list(columns)
    wanted = [
        (f'[attributes."{name}"]', column)
        for name in config.attributes
        if name.startswith(f"{table}.") and not made(column := name.split(".", 1)[1])
    ]
    if table == "items":
        wanted += [("items.text", name) for name in config.items.text]
        dates = {"items.available_from": config.items.available_from, "items.available_to": config.items.available_to}
        wanted += [(key, name) for key, name in dates.items() if name is not None]
    for key, name in wanted:
        if name not in columns:
            problems.error("missing-column", f"{label}: no column {name!r}{nearest(name, columns)}, which {key} names")


def _check_keys(
    key: TextColumn, columns: dict[str, TextColumn], table: str, where: str, problems: Problems
) -> npt.NDArray[np.int64]:
    """Return the rows to keep, sorted by key: none without a key, of identical rows the first.

    Raises
    ------
    DataError
        If the table has no rows, a key is missing, or rows with the same key differ.
    """
    if not len(key):
        raise DataError(f"{where}: the table has no rows")
    absent = np.flatnonzero(key.codes < 0)
    if len(absent):
        raise DataError(
            f"{where}: {len(absent)} of {len(key)} keys are missing ({show_rows(absent + 1)}); "
            "every row needs a key of its own"
        )
    names = list(columns)
    position = np.arange(len(key), dtype=np.int64)
    keys: list[Any] = [position, *(columns[name].codes for name in reversed(names)), key.codes]
    order: npt.NDArray[np.int64] = np.lexsort(keys)
    same_key = np.append(False, key.codes[order][1:] == key.codes[order][:-1])
    if not same_key.any():
        return order
    same_row = same_key.copy()
    for column in columns.values():
        same_row[1:] &= column.codes[order][1:] == column.codes[order][:-1]
    conflicts = np.sort(order[same_key & ~same_row])
    if len(conflicts):
        raise DataError(
            f"{where}: {len(conflicts)} keys stand in more than one row, with different values "
            f"({show_rows(conflicts + 1, key.texts()[conflicts])}); every row needs a key of its own"
        )
    repeated = np.sort(order[same_row])
    problems.drop(
        f"{table}: repeated row",
        len(repeated),
        f"{where}: {len(repeated)} rows repeat another row exactly and are left out "
        f"({show_rows(repeated + 1, key.texts()[repeated])})",
    )
    kept: npt.NDArray[np.int64] = order[~same_row]
    return kept


def _text(column: TextColumn, where: str, rows: npt.NDArray[np.int64], problems: Problems) -> npt.NDArray[np.object_]:
    texts = column.texts()
    longest = max(map(len, column.values.to_pylist()), default=0)
    if longest > _LONG_TEXT:
        found = np.sort(rows[[len(text) > _LONG_TEXT for text in texts]])
        problems.warn(
            "long-text",
            f"{where}: {len(found)} texts are longer than {_LONG_TEXT:,} characters, the longest {longest:,} "
            f"({show_rows(found)}); a model reads only their beginning",
        )
    if not longest:
        problems.warn("empty-text", f"{where}: the text column is empty")
    return texts


def type_attributes(
    config: StudyConfig,
    table: Literal["users", "items", "events"],
    columns: dict[str, TextColumn],
    source: Source,
    rows: npt.NDArray[np.int64],
    problems: Problems,
) -> tuple[dict[str, Attribute], dict[str, Typed], dict[str, str]]:
    """Type the columns that may be attributes.

    Returns
    -------
    tuple
        The attributes by name, the typed columns by column, and why the rest is ignored, by column.
    """
    attributes: dict[str, Attribute] = {}
    typed: dict[str, Typed] = {}
    ignored: dict[str, str] = {}
    for name, column in columns.items():
        spec = config.attributes.get(f"{table}.{name}")
        where = f"{source.label}, column {name!r}"
        kind = spec.kind if spec else None
        if kind is None or not len(column.values):
            guess = guess_kind(column, name, decimal_comma=source.decimal_comma)
            kind = guess.kind if guess.kind is not None or table != "events" or "date" in guess.why else "categorical"
            if kind is None or not len(column.values):
                ignored[name] = guess.why
                if spec is None or spec.role != "ignore":
                    problems.warn("ignored-column", f"{where}: not used as an attribute: {guess.why}")
                continue
        with problems.catching("attribute"):
            result = type_column(column, kind, spec, where=where, rows=rows, decimal_comma=source.decimal_comma)
            for code, note in result.notes:
                problems.warn(code, f"{where}: {note}")
            typed[name] = result
            attributes[f"{table}.{name}"] = describe_attribute(f"{table}.{name}", result, spec)
    return attributes, typed, ignored


def describe_attribute(name: str, typed: Typed, spec: AttributeConfig | None) -> Attribute:
    """Return the attribute that a typed column and the study file's words about it make."""
    return Attribute(
        name=name,
        kind=typed.kind,
        role=spec.role if spec else "any",
        levels=typed.levels,
        reference=typed.reference,
        description=spec.description if spec else "",
        missing=typed.missing,
    )
