"""Plain tables, read in chunks: a data frame, a mapping of arrays, a Parquet file, or frames that follow each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.errors import DataError, InputError, NameNotFound, nearest

__all__ = ["Plain", "open_plain"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

CHUNK_ROWS = 65_536
"""Rows read at a time."""

TableLike = (
    pd.DataFrame | Mapping[str, Any] | str | Path | Sequence[pd.DataFrame] | Callable[[], Iterable[pd.DataFrame]]
)
"""What `open_plain` takes."""


@dataclass(frozen=True)
class Plain:
    """A table whose numeric columns can be read in chunks as often as one likes.

    Attributes
    ----------
    frames : returns the named columns, chunk after chunk, from the start.
    known : names of all columns.
    """

    frames: Callable[[Sequence[str]], Iterator[pd.DataFrame]]
    known: tuple[str, ...]

    def blocks(self, columns: Sequence[str]) -> Iterator[Floats]:
        """Yield the named columns as matrices of shape (rows, columns), float64.

        Raises
        ------
        NameNotFound
            If a column isn't there.
        DataError
            If a column isn't numeric, or a value is missing or infinite.
        """
        self.check(columns)
        start = 0
        for frame in self.frames(columns):
            block = np.empty((len(frame), len(columns)))
            for j, name in enumerate(columns):
                block[:, j] = _numbers(frame[name], name, start)
            if not np.isfinite(np.sum(block)) and not np.isfinite(block).all():
                self._blame(block, columns, start)
            start += len(frame)
            yield block

    def codes(self, column: str) -> Codes:
        """Return one column as codes in sorted order: 4 bytes a row, all rows at once.

        Raises
        ------
        DataError
            If a value is missing.
        """
        self.check([column])
        parts = [frame[column] for frame in self.frames([column])]
        codes = pd.factorize(pd.concat(parts, ignore_index=True) if parts else pd.Series(dtype=float), sort=True)[0]
        if (codes < 0).any():
            raise DataError(
                f"column {column!r} has {int((codes < 0).sum())} missing values, first in row "
                f"{int(np.argmax(codes < 0))}: every row needs its cluster"
            )
        return codes.astype(np.int32)

    def check(self, columns: Iterable[str]) -> None:
        """Raise an error for the first name that isn't a column."""
        for name in columns:
            if name not in self.known:
                raise NameNotFound(f"the table has no column {name!r}{nearest(str(name), self.known)}")

    @staticmethod
    def _blame(block: Floats, columns: Sequence[str], start: int) -> None:
        wrong = ~np.isfinite(block)
        j = int(np.argmax(wrong.any(axis=0)))
        rows = np.flatnonzero(wrong[:, j])
        first = ", ".join(str(start + int(r)) for r in rows[:3])
        raise DataError(
            f"column {columns[j]!r} has missing or infinite values (rows {first}{', …' if len(rows) > 3 else ''}): "
            "fill them in or leave the rows out first"
        )


def open_plain(table: TableLike, *, chunk_rows: int = CHUNK_ROWS) -> Plain:
    """Return the table as something that can be read in chunks.

    Parameters
    ----------
    table : a DataFrame; a mapping of names to arrays of one length; the path of a Parquet file or of a folder of them;
        a list of DataFrames that follow each other, or a function that returns an iterator over them. (An iterator
        alone can be read only once, and the rows are read several times.)
    chunk_rows : rows at a time, where the chunks aren't given.

    Raises
    ------
    InputError
        If it is none of these, or arrays differ in length.
    """
    if isinstance(table, pd.DataFrame):
        return _of_frame(table, chunk_rows)
    if isinstance(table, str | Path):
        return _of_parquet(Path(table), chunk_rows)
    if isinstance(table, Mapping):
        lengths = {name: len(values) for name, values in table.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"columns differ in length: {lengths}")
        return _of_frame(pd.DataFrame(dict(table)), chunk_rows)
    if callable(table) or (isinstance(table, Sequence) and all(isinstance(t, pd.DataFrame) for t in table)):
        return _of_frames(table)
    raise InputError(
        f"a table is a DataFrame, a mapping of arrays, a path, a list of DataFrames or a function that returns them "
        f"one by one; this is {type(table).__name__!r} (an iterator can be read only once)"
    )


def _of_frame(table: pd.DataFrame, chunk_rows: int) -> Plain:
    if table.columns.has_duplicates:
        raise InputError(f"column {table.columns[table.columns.duplicated()][0]!r} stands in the table twice")

    def frames(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        for start in range(0, len(table), chunk_rows):
            yield table.iloc[start : start + chunk_rows]

    return Plain(frames, tuple(table.columns))


def _of_frames(table: Any) -> Plain:
    def every() -> Iterator[pd.DataFrame]:
        return iter(table() if callable(table) else table)

    first = next(every(), None)
    if first is None:
        raise InputError("the table has no chunks")
    known = tuple(first.columns)

    def frames(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        for i, frame in enumerate(every()):
            lacking = [name for name in columns if name not in frame.columns]
            if lacking:
                raise NameNotFound(f"chunk {i} of the table has no column {lacking[0]!r}")
            yield frame

    return Plain(frames, known)


def _of_parquet(path: Path, chunk_rows: int) -> Plain:
    import pyarrow.dataset

    if not path.exists():
        raise InputError(f"{path} doesn't exist")
    try:
        source = pyarrow.dataset.dataset(path, format="parquet")
        unbuffered = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} can't be read as Parquet: {error}") from error

    def frames(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        # Read ahead and buffered as they are by default, what was read stays in memory until the whole file is through.
        batches = source.to_batches(
            columns=list(columns),
            batch_size=chunk_rows,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=False,
            fragment_scan_options=unbuffered,
        )
        for batch in batches:
            if batch.num_rows:
                yield batch.to_pandas()

    return Plain(frames, tuple(source.schema.names))


def _numbers(values: pd.Series[Any], name: str, start: int) -> Any:
    """Return the values of one column, ready to be written into a row of float64."""
    kind = values.dtype
    if isinstance(kind, np.dtype) and kind.kind in "fiub":
        return values.array  # no copy: the caller writes it where it belongs
    if pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    raise DataError(
        f"column {name!r} holds {str(kind)!r}, not numbers (first value {values.iloc[0]!r}, row {start}): "
        "encode it as 0/1 columns first"
    )
