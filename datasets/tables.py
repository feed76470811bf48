"""Tables in: CSV, Parquet, DuckDB and SQLite files, read through DuckDB as columns of text codes.

Every cell becomes text first and is typed later by one set of rules, so that the same table gives the same study
whatever file it comes in. A column is kept as its distinct values and one 32-bit code a row.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from whyrank.datasets.study_data import Finding
from whyrank.datasets.text_files import TEXT_SUFFIXES, sniff_text
from whyrank.errors import DataError, nearest

__all__ = ["Source", "TextColumn", "is_database", "is_table_file", "open_table", "read_columns", "table_names"]

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "NULL", "Null", "<NA>", "NaT")
"""Cells that count as missing."""

_PARQUET = (".parquet", ".pq")
_DATABASE = (".duckdb", ".ddb", ".sqlite", ".sqlite3", ".db", ".db3")
_SQLITE_MAGIC = b"SQLite format 3\x00"
_BATCH = 1 << 17
_LONGEST_LINE = 1 << 24
_OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


@dataclass(frozen=True)
class TextColumn:
    """One column as trimmed texts, distinct unless read otherwise, and a code a row; code -1 is a missing cell."""

    codes: npt.NDArray[np.int32]
    values: pa.StringArray

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def missing(self) -> int:
        """Number of missing cells."""
        return int((self.codes < 0).sum())

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> TextColumn:
        """Return the column at these rows; values that occur no more are gone."""
        codes = self.codes[rows]
        used = np.bincount(codes + 1, minlength=len(self.values) + 1)[1:] > 0
        if used.all():
            return TextColumn(codes, self.values)
        position = np.append(np.where(used, np.cumsum(used) - 1, -1), -1).astype(np.int32)
        return TextColumn(position[codes], self.values.filter(pa.array(used)))

    def sorted(self) -> TextColumn:
        """Return the column with its values in sort order, so that codes compare like texts."""
        order = pc.sort_indices(self.values).to_numpy()
        position = np.full(len(order) + 1, -1, dtype=np.int32)
        position[order] = np.arange(len(order), dtype=np.int32)
        return TextColumn(position[self.codes], self.values.take(pa.array(order)))

    def texts(self, missing: str = "") -> npt.NDArray[np.object_]:
        """Return one text a row."""
        values = np.array([*self.values.to_pylist(), missing], dtype=object)
        return values[self.codes]


@dataclass(frozen=True)
class Source:
    """A table that is open for reading.

    Attributes
    ----------
    label : how messages name it, e.g. `users.csv` or `shop.duckdb (table 'users')`.
    columns : every column name, in the file's order; a name may stand twice in a text file.
    decimal_comma : whether `3,14` may be a number (the delimiter is not a comma).
    findings : what is doubtful about the file as such.
    connection, relation, expressions : where DuckDB reads it, and the SQL that writes each column as text.
    sqlite : file and table, for SQLite: Python's own driver reads those, since DuckDB's would come from the network.
    """

    label: str
    columns: tuple[str, ...]
    decimal_comma: bool
    findings: tuple[Finding, ...]
    connection: duckdb.DuckDBPyConnection
    relation: str
    expressions: tuple[str, ...]
    sqlite: tuple[Path, str] | None = None


def is_table_file(path: Path) -> bool:
    """Tell whether the file's name ends like one that can be read."""
    return path.name.lower().endswith((*TEXT_SUFFIXES, *_PARQUET, *_DATABASE))


def is_database(path: Path) -> bool:
    """Tell whether the file holds named tables."""
    return path.name.lower().endswith(_DATABASE)


def table_names(path: Path) -> list[str]:
    """Return the names of the tables and views in a DuckDB or SQLite file, sorted.

    Raises
    ------
    DataError
        If the file is neither.
    """
    _check_file(path, path.name)
    with _database_errors(path.name):
        if _is_sqlite(path):
            with contextlib.closing(_sqlite(path)) as store:
                return _sqlite_names(store)
        with contextlib.closing(_connect()) as connection:
            _attach(connection, path)
            return sorted(_duckdb_names(connection))


@contextlib.contextmanager
def open_table(path: Path, table: str | None = None, *, label: str | None = None) -> Iterator[Source]:
    """Open a table for reading.

    Parameters
    ----------
    path
        A CSV, TSV (maybe gzipped), Parquet, DuckDB or SQLite file.
    table
        Table in a DuckDB or SQLite file; may be left out if it has only one.
    label
        How messages name the file.

    Raises
    ------
    DataError
        If the file is missing, a directory, empty, of another format or damaged.
    """
    label = label or path.name
    _check_file(path, label)
    name = path.name.lower()
    if table is not None and not name.endswith(_DATABASE):
        raise DataError(f"{label}: only a DuckDB or SQLite file has tables, got table = {table!r}")
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(_connect()))
        if name.endswith(TEXT_SUFFIXES):
            yield _open_text(connection, path, label, stack)
        elif name.endswith(_PARQUET):
            with _database_errors(label):
                relation = (
                    f"read_parquet({_literal(_unglob(path))}, binary_as_string = true, hive_partitioning = false)"
                )
                source = _describe(connection, relation, label)
            yield source
        elif name.endswith(_DATABASE):
            with _database_errors(label):
                source = _open_database(connection, path, table, label)
            yield source
        else:
            raise DataError(
                f"{label}: unknown kind of file; expected one of "
                f"{', '.join((*TEXT_SUFFIXES, _PARQUET[0], _DATABASE[0], _DATABASE[2]))}"
            )


def read_columns(
    source: Source,
    names: Sequence[str],
    *,
    separators: dict[str, str] | None = None,
    repeated: Collection[str] = (),
    limit: int | None = None,
) -> dict[str, TextColumn]:
    """Read some columns of a table, in one pass.

    Parameters
    ----------
    names
        Columns to read; nothing else is loaded.
    separators
        For columns that hold lists: what joins the values of one cell (default `|`).
    repeated
        Columns whose `values` may hold a text more than once, which saves time and memory where most are different.
    limit
        Read the first rows only.

    Raises
    ------
    DataError
        If a column is missing or stands twice, or the file is damaged.
    """
    if not names:
        return {}
    for name in names:
        _check_column(source, name)
    chunks: list[list[pa.Array]] = [[] for _ in names]
    with _database_errors(source.label):
        if source.sqlite:
            rows = _sqlite_rows(*source.sqlite, names, limit)
            source.connection.register("sqlite_rows", rows)
            source = _describe(source.connection, "sqlite_rows", source.label)
        picked = []
        for i, name in enumerate(names):
            expression = source.expressions[source.columns.index(name)]
            picked.append(f"{expression.replace('$SEP', _literal((separators or {}).get(name, '|')))} AS c{i}")
        query = f"SELECT {', '.join(picked)} FROM {source.relation}"  # noqa: S608
        for batch in _batches(source.connection, query + (f" LIMIT {limit}" if limit is not None else "")):
            for i in range(len(names)):
                chunks[i].append(batch.column(i).dictionary_encode())
    result = {}
    for i, name in enumerate(names):
        result[name] = _coded(chunks[i], distinct=name not in repeated)
        chunks[i] = []
    return result


def _check_column(source: Source, name: str) -> None:
    count = source.columns.count(name)
    if count == 0:
        shown = ", ".join(map(repr, source.columns[:30]))
        raise DataError(f"{source.label}: no column {name!r}{nearest(name, source.columns)}; its columns are {shown}")
    if count > 1:
        raise DataError(f"{source.label}: the column {name!r} stands {count} times in the header")


def _coded(chunks: list[pa.Array], *, distinct: bool) -> TextColumn:
    """Join dictionary-coded batches, trim the values and take out the missing ones."""
    kind = pa.dictionary(pa.int32(), pa.string())
    parts = [chunk.cast(kind) for chunk in chunks]
    if not parts:
        return TextColumn(np.empty(0, dtype=np.int32), pa.array([], type=pa.string()))
    if distinct:
        parts = pa.chunked_array(parts, type=kind).unify_dictionaries().chunks
        dictionary, starts = parts[0].dictionary, np.zeros(len(parts), dtype=np.int32)
    else:
        dictionary = pa.concat_arrays([part.dictionary for part in parts])
        starts = np.cumsum([0, *(len(part.dictionary) for part in parts[:-1])], dtype=np.int32)
    found = [part.indices.fill_null(-1).to_numpy(zero_copy_only=False) for part in parts]
    codes = np.concatenate([np.where(c < 0, -1, c + start) for c, start in zip(found, starts, strict=True)])
    trimmed = pc.utf8_trim_whitespace(dictionary)
    position = np.arange(len(dictionary) + 1, dtype=np.int32)
    position[-1] = -1
    if not trimmed.equals(dictionary):
        encoded = trimmed.dictionary_encode()
        position[:-1] = encoded.indices.to_numpy()
        dictionary = encoded.dictionary
    absent = pc.is_in(dictionary, value_set=pa.array(MISSING)).to_numpy(zero_copy_only=False)
    if absent.any():
        moved = np.append(np.where(absent, -1, np.cumsum(~absent) - 1), -1).astype(np.int32)
        position, dictionary = moved[position], dictionary.filter(pa.array(~absent))
    return TextColumn(position[codes], dictionary)


def _batches(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    relation = connection.sql(query)
    # DuckDB before 1.4 calls the same thing `fetch_arrow_reader`.
    reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    yield from reader(_BATCH)


def _check_file(path: Path, label: str) -> None:
    try:
        if path.is_dir():
            raise DataError(f"{label}: expected a file, but this is a directory: {path}")
        if not path.exists():
            raise DataError(f"{label}: no such file: {path}")
        if not path.is_file():
            raise DataError(f"{label}: expected a file, but this is a pipe or a device: {path}")
        if path.stat().st_size == 0:
            raise DataError(f"{label}: the file is empty (0 bytes)")
    except OSError as error:
        raise DataError(f"{label}: cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def _database_errors(label: str) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, sqlite3.Error, pa.ArrowInvalid) as error:
        # The first lines say where and what; the rest lists DuckDB's own options.
        said = str(error).split("Possible fixes")[0].split("\n\n")[0]
        raise DataError(f"{label}: cannot be read: {' '.join(said.split())[:400]}") from None


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=_OFFLINE)
    connection.execute("SET enable_progress_bar = false")  # it would be drawn on stdout, among the data
    return connection


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unglob(path: Path) -> str:
    """Return the path as a DuckDB pattern that matches nothing but the file itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))


def _open_text(connection: duckdb.DuckDBPyConnection, path: Path, label: str, stack: contextlib.ExitStack) -> Source:
    form = sniff_text(path, label)
    if form.copied:
        stack.callback(form.path.unlink, missing_ok=True)
    findings = []
    if form.encoding != "utf-8":
        said = "UTF-16" if form.encoding == "utf-16" else "Latin-1 (Windows-1252)"
        findings.append(Finding("warning", "encoding", f"{label}: not UTF-8; read as {said}"))
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(form.columns)))
    newline = ", new_line = '\\r'" if form.newline else ""
    relation = (
        f"read_csv({_literal(_unglob(form.path))}, auto_detect = false, header = true, columns = {{{columns}}}, "
        f"delim = {_literal(form.delimiter)}, quote = '\"', escape = '\"', max_line_size = {_LONGEST_LINE}, "
        f"buffer_size = {2 * _LONGEST_LINE}{newline})"
    )
    return Source(
        label=label,
        columns=form.columns,
        decimal_comma=form.delimiter != ",",
        findings=tuple(findings),
        connection=connection,
        relation=relation,
        expressions=tuple(f"c{i}" for i in range(len(form.columns))),
    )


def _open_database(connection: duckdb.DuckDBPyConnection, path: Path, table: str | None, label: str) -> Source:
    if _is_sqlite(path):
        with contextlib.closing(_sqlite(path)) as store:
            name = _pick(table, {n: n for n in _sqlite_names(store)}, label)
            columns = _sqlite_columns(store, name)
        return Source(f"{label} (table {name!r})", columns, False, (), connection, "", (), sqlite=(path, name))
    _attach(connection, path)
    names = _duckdb_names(connection)
    name = _pick(table, names, label)
    return _describe(connection, names[name], f"{label} (table {name!r})")


def _pick(table: str | None, names: dict[str, str], label: str) -> str:
    known = ", ".join(map(repr, sorted(names))) or "none"
    if table is None:
        if len(names) == 1:
            return next(iter(names))
        raise DataError(f"{label}: give the table to read (table = ...); the file's tables: {known}")
    if table not in names:
        raise DataError(f"{label}: no table {table!r}{nearest(table, names)}; the file's tables: {known}")
    return table


def _attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    connection.execute(f"ATTACH {_literal(str(path))} AS source (READ_ONLY, TYPE DUCKDB)")


def _duckdb_names(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return the quoted relation of every table and view, by name; outside `main` the schema is part of the name."""
    rows = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'source' UNION ALL "
        "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'source' AND NOT internal"
    ).fetchall()
    return {
        (name if schema == "main" else f"{schema}.{name}"): f"source.{_identifier(schema)}.{_identifier(name)}"
        for schema, name in sorted(rows)
    }


def _describe(connection: duckdb.DuckDBPyConnection, relation: str, label: str) -> Source:
    rows = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()  # noqa: S608
    return Source(
        label=label,
        columns=tuple(str(row[0]).strip() for row in rows),
        decimal_comma=False,
        findings=(),
        connection=connection,
        relation=relation,
        expressions=tuple(_text_expression(_identifier(row[0]), str(row[1])) for row in rows),
    )


def _text_expression(column: str, kind: str) -> str:
    """Return SQL that writes a typed column as text: whole floats like integers, times in UTC, lists joined."""
    if kind.endswith("[]"):
        return f"array_to_string(CAST({column} AS VARCHAR[]), $SEP)"
    if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
        number = f"CAST({column} AS DOUBLE)" if kind.startswith("DECIMAL") else column
        return (
            f"CASE WHEN isfinite({number}) AND {number} = trunc({number}) AND abs({number}) < 1e15 "
            f"THEN CAST(CAST({number} AS BIGINT) AS VARCHAR) ELSE CAST({number} AS VARCHAR) END"
        )
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"CAST(make_timestamp(epoch_us({column})) AS VARCHAR)"
    return f"CAST({column} AS VARCHAR)"


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC


def _sqlite(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)


def _sqlite_names(store: sqlite3.Connection) -> list[str]:
    rows = store.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'")
    return sorted(str(row[0]) for row in rows)


def _sqlite_columns(store: sqlite3.Connection, table: str) -> tuple[str, ...]:
    cursor = store.execute(f"SELECT * FROM {_identifier(table)} LIMIT 0")  # noqa: S608
    return tuple(part[0].strip() for part in cursor.description)


def _sqlite_rows(path: Path, table: str, names: Sequence[str], limit: int | None) -> pa.Table:
    chunks: list[list[pa.Array]] = [[] for _ in names]
    with contextlib.closing(_sqlite(path)) as store:
        # A quoted name that SQLite does not know would be read as a text; the caller has checked the names.
        picked = ", ".join(map(_identifier, names))
        cursor = store.execute(f"SELECT {picked} FROM {_identifier(table)} LIMIT ?", [-1 if limit is None else limit])  # noqa: S608
        while rows := cursor.fetchmany(_BATCH):
            for chunk, cells in zip(chunks, zip(*rows, strict=True), strict=True):
                chunk.append(_arrow_cells(cells))
    columns = []
    for chunk in chunks:
        kinds = {part.type for part in chunk} - {pa.null()}
        kind = kinds.pop() if len(kinds) == 1 else pa.float64() if kinds == {pa.int64(), pa.float64()} else pa.string()
        columns.append(pa.chunked_array([part.cast(kind) for part in chunk], type=kind))
    return pa.Table.from_arrays(columns, names=list(names))


def _arrow_cells(cells: tuple[object, ...]) -> pa.Array:
    """Return SQLite cells as an Arrow column; a column of mixed kinds becomes text."""
    try:
        return pa.array(cells)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([_cell_text(cell) for cell in cells], type=pa.string())


def _cell_text(cell: object) -> str | None:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return None if cell is None else str(cell)
