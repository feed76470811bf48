"""Times as logs write them: ISO 8601, epoch numbers, day numbers, or one other format throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from whyrank.datasets.tables import TextColumn
from whyrank.errors import DataError

__all__ = ["Times", "looks_like_dates", "parse_times"]

_DATE = r"^(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([T ].*)?$"
_ZONE = r":.*(Z|[+-]\d\d(:?\d\d)?)$"
_NUMBER = r"^-?\d+(\.\d*)?$"
_DATES = ("%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f")
_COMPACT = (19000101, 21001231)


@dataclass(frozen=True)
class Times:
    """Parsed times, UTC without a zone (NaT where missing), and how they were read, if that needs saying."""

    data: npt.NDArray[np.datetime64]
    note: str = ""


def looks_like_dates(values: pa.StringArray) -> bool:
    """Tell whether every value is written like a date, maybe with a time of day."""
    return len(values) > 0 and bool(pc.all(pc.match_substring_regex(values, _DATE)).as_py())


def parse_times(column: TextColumn, *, where: str, rows: npt.NDArray[np.int64]) -> Times:
    """Read a column of times.

    Parameters
    ----------
    where
        How messages name file and column.
    rows
        Row number in the file of each row of the column.

    Raises
    ------
    DataError
        If a value is not a time, formats are mixed, or day and month cannot be told apart.
    """
    values = column.values
    if not len(values):
        return Times(np.full(len(column), "NaT", dtype="datetime64[us]"))
    if pc.all(pc.match_substring_regex(values, _NUMBER)).as_py():
        parsed, note = _from_numbers(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
    else:
        parsed, note = _from_texts(values, where, column, rows)
    return Times(np.append(parsed, np.datetime64("NaT", "us"))[column.codes], note)


def _from_numbers(numbers: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.datetime64], str]:
    largest = float(np.abs(numbers).max())
    if (numbers % 1 == 0).all() and _COMPACT[0] <= numbers.min() and largest <= _COMPACT[1]:
        days = pd.to_datetime(pd.Series(numbers.astype(np.int64).astype(str)), format="%Y%m%d", errors="coerce")
        if days.notna().all():
            return _micro(days), ""
    for limit, unit, scale in (
        (1e6, "days", 86_400e6),
        (1e11, "seconds", 1e6),
        (1e14, "milliseconds", 1e3),
        (1e17, "microseconds", 1),
    ):
        if largest < limit:
            moments = np.round(numbers * scale).astype(np.int64).astype("datetime64[us]")
            return moments, f"numbers read as {unit} since 1970-01-01" if unit == "days" else ""
    return np.round(numbers / 1e3).astype(np.int64).astype("datetime64[us]"), ""


def _from_texts(
    values: pa.StringArray, where: str, column: TextColumn, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.datetime64], str]:
    texts = pd.Series(values.to_pylist(), dtype=object)
    iso = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    if iso.notna().all():
        zoned = pc.match_substring_regex(values, _ZONE).to_numpy(zero_copy_only=False)
        note = "some times have a zone and some have none; those without are taken as UTC"
        return _micro(iso), note if zoned.any() and not zoned.all() else ""
    fits = {}
    nearest = iso
    for date in _DATES:
        parsed = _in_format(texts, date)
        if parsed.notna().all():
            fits[date] = parsed
        elif parsed.notna().sum() > nearest.notna().sum():
            nearest = parsed
    distinct = {tuple(_micro(parsed).astype(np.int64)[:1000]) for parsed in fits.values()}
    if len(distinct) > 1:
        raise DataError(
            f"{where}: day and month cannot be told apart in {texts.iloc[0]!r} ({' or '.join(fits)}); "
            "write times as 2024-01-31 or 2024-01-31 18:30:00"
        )
    if fits:
        return _micro(next(iter(fits.values()))), ""
    bad = np.append(nearest.isna().to_numpy(), False)[column.codes]
    found = np.flatnonzero(bad)
    first = found[np.argsort(rows[found], kind="stable")][:3]
    shown = ", ".join(f"row {rows[i]}: {values[int(column.codes[i])].as_py()!r}" for i in first)
    kind = "are in another format than the rest" if nearest.notna().any() else "are not times"
    raise DataError(
        f"{where}: {int(bad.sum())} of {len(column)} values {kind} ({shown}); "
        "expected one format throughout, like 2024-01-31 18:30:00"
    )


def _in_format(texts: pd.Series[str], date: str) -> pd.Series[pd.Timestamp]:
    """Parse texts with one date format and any of the usual times of day."""
    best = pd.to_datetime(texts, format=date, errors="coerce")
    for clock in _CLOCKS[1:]:
        if best.notna().all():
            break
        best = best.fillna(pd.to_datetime(texts, format=date + clock, errors="coerce"))
    return best


def _micro(moments: pd.Series[pd.Timestamp]) -> npt.NDArray[np.datetime64]:
    plain = moments.dt.tz_localize(None) if moments.dt.tz is not None else moments
    return plain.to_numpy().astype("datetime64[us]")
