"""The events table: who saw or bought what, with which outcome; unusable rows counted, the rest in canonical order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from whyrank.config import StudyConfig
from whyrank.datasets.entities import Entities, as_series, type_attributes
from whyrank.datasets.infer import Typed, is_switch, parse_numbers
from whyrank.datasets.problems import Problems, show_rows
from whyrank.datasets.study_data import Attribute, Outcome
from whyrank.datasets.tables import Source, TextColumn, open_table, read_columns
from whyrank.datasets.times import parse_times
from whyrank.errors import DataError, nearest

__all__ = ["Log", "load_log"]

_BASES = ("popularity", "als", "bpr", "lightgbm")


@dataclass(frozen=True)
class Log:
    """The events, with positions in the users and items tables in place of keys."""

    label: str
    frame: pd.DataFrame
    attributes: dict[str, Attribute]
    outcomes: dict[str, Outcome]
    ignored: dict[str, str]


def load_log(config: StudyConfig, users: Entities | None, items: Entities | None, problems: Problems) -> Log | None:
    """Read and check the events; None if an error makes them unusable.

    Without the users or the items table (it had errors of its own) the columns are checked all the same.
    """
    events = config.events
    with open_table(config.table_paths["events"], events.table, label=events.path) as source:
        problems.findings.extend(source.findings)
        outcomes, made_up = _outcome_names(config, source, problems)
        score = _score_column(config, source, items)
        named = [events.user, events.item, events.time, events.propensity, events.randomised, score]
        wanted = list(dict.fromkeys([c for c in named if c is not None] + outcomes + list(events.context)))
        absent = [name for name in wanted if name not in source.columns]
        for name in absent:
            problems.error(
                "missing-column",
                f"{source.label}: no column {name!r}{nearest(name, source.columns)}; its columns are "
                f"{', '.join(map(repr, source.columns[:30]))}",
            )
        if absent:
            return None
        _say_ignored(source, wanted, problems)
        specs = {c: config.attributes.get(f"events.{c}") for c in events.context}
        separators = {c: s.sep for c, s in specs.items() if s is not None}
        measured = {name for name in wanted if name not in (events.user, events.item, *events.context)}
        columns = read_columns(source, wanted, separators=separators, repeated=measured)
    rows = np.arange(1, len(columns[events.user]) + 1, dtype=np.int64)
    if not len(rows):
        problems.error("no-rows", f"{source.label}: the table has no rows")
        return None
    before = len(problems.errors)
    data: dict[str, npt.NDArray[Any]] = {}
    data["user"], keep = _positions(columns.pop(events.user), events.user, users, "users", source, rows, problems)
    data["item"], known = _positions(columns.pop(events.item), events.item, items, "items", source, rows, problems)
    keep &= known
    for name in outcomes:
        with problems.catching("outcome"):
            data[name] = _numbers(columns.pop(name), name, source, rows)
    for name in made_up:
        data[name] = np.ones(len(rows))
    keep &= _measured({name: data[name] for name in (*outcomes, *made_up) if name in data}, source, rows, problems)
    if events.time is not None:
        with problems.catching("time"):
            data["time"] = _times(columns.pop(events.time), events.time, source, rows, problems)
    if events.propensity is not None:
        with problems.catching("propensity"):
            data["propensity"], usable = _propensities(
                columns.pop(events.propensity), events.propensity, source, rows, problems
            )
            keep &= usable
    if events.randomised is not None:
        with problems.catching("randomised"):
            data["randomised"] = _randomised(columns.pop(events.randomised), events.randomised, source, rows, problems)
    if score is not None:
        with problems.catching("score"):
            data[score] = _numbers(columns.pop(score), score, source, rows)
    if not keep.any() and len(problems.errors) == before:
        problems.error("no-rows", f"{source.label}: no usable row is left of {len(rows)}")
    if not keep.all():
        rows = rows[keep]
        data = {name: values[keep] for name, values in data.items()}
        columns = {name: column.take(keep) for name, column in columns.items()}
    context = {name: columns[name] for name in events.context}
    attributes, typed, ignored = type_attributes(config, "events", context, source, rows, problems)
    if len(problems.errors) > before or users is None or items is None:
        return None
    found = {
        f"events.{name}": Outcome(f"events.{name}", _scale(data[name]), _description(config, name))
        for name in (*outcomes, *made_up)
    }
    for outcome in found.values():
        _check_varies(data[outcome.column], outcome, config, source, problems)
    return Log(source.label, _sorted_frame(config, data, typed, context), attributes, found, ignored)


def _outcome_names(config: StudyConfig, source: Source, problems: Problems) -> tuple[list[str], list[str]]:
    """Return the outcome columns to read, and those to be made up: a purchase is its own outcome."""
    events = config.events
    if events.kind == "exposures":
        return list(events.outcomes), []
    names = events.outcomes or ("purchase",)
    read = [name for name in names if name in source.columns]
    made_up = [name for name in names if name not in source.columns]
    if len(names) > 1 and made_up:
        return list(names), []
    if made_up:
        problems.warn("purchases", f"{source.label}: every row is a purchase: events.{made_up[0]} is 1 throughout")
    return read, made_up


def _score_column(config: StudyConfig, source: Source, items: Entities | None) -> str | None:
    """Return the events column that the ranker takes its base scores from, if it is one."""
    base = config.ranker.base
    if base in _BASES:
        return None
    if base.startswith("events."):
        return base.removeprefix("events.")
    if items is None or f"items.{base.removeprefix('items.')}" in items.attributes:
        return None
    if base in source.columns:
        return base
    known = [*_BASES, *items.attributes, *source.columns]
    raise DataError(f"ranker.base {base!r} is neither a method nor a column of items or events{nearest(base, known)}")


def _say_ignored(source: Source, wanted: list[str], problems: Problems) -> None:
    rest = [name for name in source.columns if name and name not in wanted]
    if rest:
        shown = ", ".join(map(repr, rest[:20])) + (", ..." if len(rest) > 20 else "")
        problems.warn(
            "ignored-column", f"{source.label}: columns that the study file does not name are ignored: {shown}"
        )


def _positions(
    column: TextColumn,
    name: str,
    entities: Entities | None,
    table: str,
    source: Source,
    rows: npt.NDArray[np.int64],
    problems: Problems,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return each row's position in the users or items, and which rows have one."""
    where = f"{source.label}, column {name!r}"
    absent = column.codes < 0
    if absent.all():
        problems.error("missing-key", f"{where}: every value is missing; expected keys of {table}")
        return column.codes, ~absent
    if absent.any():
        count = int(absent.sum())
        problems.drop(
            f"events: missing {name}",
            count,
            f"{where}: {count} rows without a key are left out ({show_rows(rows[absent])})",
        )
    if entities is None:
        return column.codes, ~absent
    found = pc.index_in(column.values, value_set=pa.array(entities.ids, type=pa.string()))
    position = np.append(found.fill_null(-1).to_numpy(zero_copy_only=False), -1).astype(np.int32)[column.codes]
    unknown = (position < 0) & ~absent
    if unknown.any():
        count = int(unknown.sum())
        first = np.flatnonzero(unknown)
        shown = show_rows(
            rows[first], np.array([column.values[int(c)].as_py() for c in column.codes[first[:6]]], dtype=object)
        )
        what = f"{where}: {count} of {len(rows)} rows name {table} that {entities.label} does not have ({shown})"
        if not (position >= 0).any():
            example = ", ".join(map(repr, entities.ids[:3].tolist()))
            problems.error("unknown-key", f"{what}; its keys look like {example}")
        else:
            problems.drop(f"events: unknown {name}", count, f"{what}; they are left out")
    return position, position >= 0


def _numbers(column: TextColumn, name: str, source: Source, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Read numbers or truth values; a missing cell is NaN.

    Raises
    ------
    DataError
        If a value is neither, or infinite.
    """
    where = f"{source.label}, column {name!r}"
    numbers = parse_numbers(column.values, decimal_comma=source.decimal_comma)
    values, bad = numbers.values, ~numbers.finite & ~numbers.infinite
    if bad.any() and is_switch(column.values):
        values = np.array([float(text.lower() in ("1", "true", "yes", "y", "t")) for text in column.values.to_pylist()])
        bad = np.zeros(len(values), dtype=bool)
    for wrong, what in ((bad, "are not numbers"), (numbers.infinite & np.isnan(values), "are infinite")):
        if wrong.any():
            found = np.flatnonzero(np.append(wrong, False)[column.codes])
            texts = np.array([column.values[int(code)].as_py() for code in column.codes[found[:6]]], dtype=object)
            raise DataError(
                f"{where}: {len(found)} of {len(rows)} values {what} ({show_rows(rows[found], texts)}); "
                "expected finite numbers, 0/1, true/false or yes/no"
            )
    filled: npt.NDArray[np.float64] = np.append(values + 0.0, np.nan)[column.codes]
    return filled


def _measured(
    outcomes: dict[str, npt.NDArray[np.float64]], source: Source, rows: npt.NDArray[np.int64], problems: Problems
) -> npt.NDArray[np.bool_]:
    """Tell which rows have an outcome, and count the others."""
    measured = np.zeros(len(rows), dtype=bool)
    for values in outcomes.values():
        measured |= ~np.isnan(values)
    if not outcomes:
        return ~measured
    for name, values in outcomes.items():
        where, absent = f"{source.label}, column {name!r}", np.isnan(values)
        count = int(absent.sum())
        if absent.all():
            problems.error("missing-outcome", f"{where}: every value of the outcome is missing")
        elif count and len(outcomes) > 1:
            problems.warn(
                "missing-outcome",
                f"{where}: the outcome is missing in {count} of {len(rows)} rows ({show_rows(rows[absent])}); "
                "they do not count for it",
            )
    if not measured.all() and measured.any():
        count = int((~measured).sum())
        problems.drop(
            "events: no outcome",
            count,
            f"{source.label}: {count} of {len(rows)} rows have no value of {', '.join(map(repr, outcomes))} and "
            f"are left out ({show_rows(rows[~measured])})",
        )
    return measured


def _times(
    column: TextColumn, name: str, source: Source, rows: npt.NDArray[np.int64], problems: Problems
) -> npt.NDArray[np.datetime64]:
    where = f"{source.label}, column {name!r}"
    times = parse_times(column, where=where, rows=rows)
    if times.note:
        problems.warn("time", f"{where}: {times.note}")
    absent = np.isnat(times.data)
    if absent.any():
        problems.warn(
            "time",
            f"{where}: the time is missing in {int(absent.sum())} of {len(rows)} rows ({show_rows(rows[absent])})",
        )
    return times.data


def _propensities(
    column: TextColumn, name: str, source: Source, rows: npt.NDArray[np.int64], problems: Problems
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    where = f"{source.label}, column {name!r}"
    values = _numbers(column, name, source, rows)
    absent = np.isnan(values)
    wrong = ~absent & ~((values > 0) & (values <= 1))
    if wrong.any():
        shown = show_rows(rows[wrong], np.array([f"{v:g}" for v in values[wrong][:6]], dtype=object))
        raise DataError(
            f"{where}: {int(wrong.sum())} of {len(rows)} propensities are impossible ({shown}); "
            "expected probabilities above 0 and at most 1"
        )
    if absent.all():
        raise DataError(f"{where}: every propensity is missing; expected probabilities above 0 and at most 1")
    if absent.any():
        count = int(absent.sum())
        problems.drop(
            f"{where}: missing",
            count,
            f"{where}: {count} rows without a propensity are left out ({show_rows(rows[absent])})",
        )
    return values, ~absent


def _randomised(
    column: TextColumn, name: str, source: Source, rows: npt.NDArray[np.int64], problems: Problems
) -> npt.NDArray[np.float64]:
    where = f"{source.label}, column {name!r}"
    values = _numbers(column, name, source, rows)
    wrong = ~np.isnan(values) & (values != 0) & (values != 1)
    if wrong.any():
        shown = show_rows(rows[wrong], np.array([f"{v:g}" for v in values[wrong][:6]], dtype=object))
        raise DataError(f"{where}: {int(wrong.sum())} of {len(rows)} values are not 0 or 1 ({shown})")
    absent = np.isnan(values)
    if absent.any():
        problems.warn(
            "randomised",
            f"{where}: {int(absent.sum())} rows do not say whether they are randomised and count as not "
            f"({show_rows(rows[absent])})",
        )
    values = np.nan_to_num(values)
    if not values.any():
        problems.warn("randomised", f"{where}: no row is randomised")
    return values


def _scale(values: npt.NDArray[np.float64]) -> Any:
    seen = values[~np.isnan(values)]
    return "probability" if bool(((seen == 0) | (seen == 1)).all()) else "mean"


def _description(config: StudyConfig, name: str) -> str:
    spec = config.attributes.get(f"events.{name}")
    return spec.description if spec else ""


def _check_varies(
    values: npt.NDArray[np.float64], outcome: Outcome, config: StudyConfig, source: Source, problems: Problems
) -> None:
    seen = values[~np.isnan(values)]
    if config.events.kind == "exposures" and len(seen) and seen.min() == seen.max():
        problems.error(
            "constant-outcome",
            f"{source.label}, column {outcome.column!r}: the outcome is {seen[0]:g} in every row; nothing can move it",
        )


def _sorted_frame(
    config: StudyConfig, data: dict[str, npt.NDArray[Any]], typed: dict[str, Typed], context: dict[str, TextColumn]
) -> pd.DataFrame:
    """Put the rows in an order that depends on nothing but their content; empties `data`."""
    keys: list[npt.NDArray[Any]] = []
    for name, column in sorted(typed.items()):
        if isinstance(column.data, pd.Categorical):
            keys.append(column.data.codes)
        else:
            keys.append(context[name].sorted().codes if column.kind == "set" else column.data)
    keys += [data[name] for name in sorted(data) if name not in ("user", "item", "time")]
    keys += [data[name].view(np.int64) for name in ("time",) if name in data]
    order = _order(data["user"], data["item"], keys)
    del keys
    columns = (*(config.events.outcomes or ("purchase",)), *config.events.context)
    names = [name for name in ("user", "item", "time", *columns) if name in data or name in typed]
    names += [name for name in data if name not in names]
    # Each unsorted column goes as soon as its sorted copy is there: a log of ten million rows is held only once.
    frame = {name: as_series((data.pop(name) if name in data else typed[name].data)[order]) for name in names}
    return pd.DataFrame(frame, copy=False)


def _order(
    users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], rest: list[npt.NDArray[Any]]
) -> npt.NDArray[np.int64]:
    """Sort by user, item and the `rest` (the last of them foremost), which only rows that tie need."""
    pair = users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
    order: npt.NDArray[np.int64] = np.argsort(pair, kind="stable")
    pair = pair[order]
    same = pair[1:] == pair[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(tied):
        rows = order[tied]
        order[tied] = rows[np.lexsort([*(key[rows] for key in rest), pair[tied]])]
    return order
