"""Connections to the ledger's database: SQLite in WAL mode, or any database that SQLAlchemy reaches by URL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.sql import Insert

from whyrank.errors import LedgerError

__all__ = ["BUSY_SECONDS", "insert_new", "open_engine", "reading", "writing"]

BUSY_SECONDS = 30.0
"""How long a writer waits for another process's transaction before it gives up."""


def open_engine(path_or_url: str | Path) -> tuple[Engine, str]:
    """Return an engine and the name that messages use for the ledger (a password is left out).

    Raises
    ------
    LedgerError
        If the path cannot hold a database, or the URL names a driver that isn't there.
    """
    text = str(path_or_url)
    url = None
    if "://" not in text:
        path = Path(path_or_url).expanduser().absolute()
        if path.is_dir():
            raise LedgerError(f"the ledger {str(path)!r} must be a file, got a folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"the ledger {str(path)!r} cannot be made: {error.strerror}") from None
        url = URL.create("sqlite", database=str(path))
    try:
        url = url or make_url(text)
        options: dict[str, Any] = {}
        if url.get_backend_name() == "sqlite":
            if url.database in (None, "", ":memory:"):
                raise LedgerError(f"the ledger must be a file or a database address, got {text!r}")
            options["connect_args"] = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        engine = create_engine(url, **options)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise LedgerError(f"the ledger {text!r} cannot be opened: {error}") from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine, f"the ledger {url.database!r}"
    return engine, f"the ledger {url.render_as_string(hide_password=True)!r}"


def _prepare(connection: Any, _record: Any) -> None:
    """Set up one SQLite connection; transactions are begun by `_begin`, not by the driver."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    deadline = time.monotonic() + BUSY_SECONDS
    # SQLite doesn't wait its busy timeout when two processes switch a new file to WAL at once
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except connection.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin(connection: Connection) -> None:
    # a read that turns into a write fails at once if another process wrote in between: writers lock at the start
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def writing(engine: Engine, where: str) -> Iterator[Connection]:
    """One transaction that writes: all of it is kept, or nothing."""
    with _told(where), engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine, where: str) -> Iterator[Connection]:
    """One consistent view for reading."""
    with _told(where), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise LedgerError(f"{where} cannot be used: {error.orig}") from error


def insert_new(connection: Connection, table: Table, rows: dict[str, Any] | list[dict[str, Any]]) -> Insert:
    """Return an INSERT that leaves alone what is already there."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).values(rows).on_conflict_do_nothing()
    return sqlite.insert(table).values(rows).on_conflict_do_nothing()
