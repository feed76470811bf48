"""Tables of the ledger, and the numbered steps that bring an older file up to date."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    select,
    text,
)

from whyrank.errors import LedgerError

__all__ = [
    "METADATA",
    "MIGRATIONS",
    "calls",
    "checks",
    "estimates",
    "fingerprints",
    "hypotheses",
    "is_current",
    "migrate",
    "migrations",
    "now",
    "rounds",
    "run_ends",
    "runs",
    "stages",
    "verdict_sets",
    "verdicts",
]

METADATA = MetaData()

migrations = Table(
    "migrations",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    Column("applied", String, nullable=False),
)

runs = Table(
    "runs",
    METADATA,
    Column("id", String, primary_key=True),
    Column("started", String, nullable=False),
    Column("command", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("version", String, nullable=False),
    Column("libraries", Text, nullable=False),
)

run_ends = Table(
    "run_ends",
    METADATA,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("finished", String, nullable=False),
    Column("status", String, nullable=False),
)

calls = Table(
    "calls",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("model", String, nullable=False),
    Column("prompt_hash", String, nullable=False),
    Column("error", Text),
    Column("created_at", String, nullable=False),
    Column("record", Text, nullable=False),
    UniqueConstraint("key", "digest"),
)

hypotheses = Table(
    "hypotheses",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("edge", String, nullable=False),
    Column("source", String, nullable=False),
    Column("round", Integer, nullable=False),
    Column("claimed_sign", String, nullable=False),
    Column("record", Text, nullable=False),
    Column("created", String, nullable=False),
    Column("likelihood", Float),
    Column("unmeasured", Text),
    UniqueConstraint("edge", "source", "round", "claimed_sign"),
)

stages = Table(
    "stages",
    METADATA,
    Column("name", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("finished", String, nullable=False),
)

rounds = Table(
    "rounds",
    METADATA,
    Column("key", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("proposed", Integer, nullable=False),
    Column("kept", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("record", Text, nullable=False),
    Column("finished", String, nullable=False),
)

fingerprints = Table(
    "fingerprints",
    METADATA,
    Column("fingerprint", String, primary_key=True),
    Column("rows", Text, nullable=False),
    Column("dropped", Text, nullable=False),
    Column("findings", Text, nullable=False),
    Column("first_seen", String, nullable=False),
)

estimates = Table(
    "estimates",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("settings_hash", String, nullable=False),
    Column("label", String, nullable=False),
    Column("edge", String, nullable=False, index=True),
    Column("estimate", Float),
    Column("se", Float),
    Column("p_value", Float),
    Column("record", Text, nullable=False),
    Column("created", String, nullable=False),
    UniqueConstraint("fingerprint", "settings_hash", "label"),
)

checks = Table(
    "checks",
    METADATA,
    Column("estimate", ForeignKey("estimates.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("passed", Integer),
    Column("statistic", Float),
    Column("threshold", Float),
    Column("detail", Text, nullable=False),
    Column("record", Text, nullable=False),
)

verdict_sets = Table(
    "verdict_sets",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("fingerprint", String, nullable=False),
    Column("settings_hash", String, nullable=False),
    Column("run", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("created", String, nullable=False),
)

verdicts = Table(
    "verdicts",
    METADATA,
    Column("verdict_set", ForeignKey("verdict_sets.number"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("label", String, nullable=False),
    Column("edge", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("q_value", Float),
    Column("claimed_sign", String, nullable=False),
    Column("source", String, nullable=False),
    Column("record", Text, nullable=False),
    Index("verdicts_by_label", "label"),
)

_APPEND_ONLY = (
    "runs", "run_ends", "calls", "hypotheses", "stages", "fingerprints", "estimates", "checks",
    "verdict_sets", "verdicts",
)  # fmt: skip


_LOCK = 0x5768795261  # any number will do that no other program takes


def now() -> str:
    """Return the time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _first(connection: Connection) -> None:
    """Create every table; where the database can, forbid changing or deleting what is written."""
    METADATA.create_all(connection)
    for table in _APPEND_ONLY:
        _forbid_changes(connection, table)


def _forbid_changes(connection: Connection, table: str) -> None:
    if connection.dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            connection.execute(
                text(
                    f"CREATE TRIGGER IF NOT EXISTS {table}_no_{action.lower()} BEFORE {action} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
                )
            )


def _second(connection: Connection) -> None:
    """Give hypotheses their likelihood and the unmeasured causes they suspect; a new ledger has the columns already."""
    present = {column["name"] for column in inspect(connection).get_columns("hypotheses")}
    for name, kind in (("likelihood", "FLOAT"), ("unmeasured", "TEXT")):
        if name not in present:
            connection.execute(text(f"ALTER TABLE hypotheses ADD COLUMN {name} {kind}"))


def _third(connection: Connection) -> None:
    """Add the table of finished rounds, unless the ledger is new and has it already."""
    rounds.create(connection, checkfirst=True)
    _forbid_changes(connection, rounds.name)


MIGRATIONS: tuple[tuple[str, Callable[[Connection], None]], ...] = (
    ("first tables", _first),
    ("likelihood and unmeasured causes of hypotheses", _second),
    ("rounds of the hypothesis loop", _third),
)
"""Steps in order; step i brings a ledger from number i to i + 1. A released step is never edited."""


def is_current(connection: Connection) -> bool:
    """Tell whether the ledger needs no migration: the common case, answered without a write lock."""
    if migrations.name not in inspect(connection).get_table_names():
        return False
    return _number(connection) == len(MIGRATIONS)


def migrate(connection: Connection, where: str) -> None:
    """Apply the steps that the ledger at `where` lacks, inside the caller's transaction.

    Raises
    ------
    LedgerError
        If a newer WhyRank wrote it, or it is a database of something else.
    """
    if connection.dialect.name == "postgresql":  # SQLite's writers are alone already
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    present = inspect(connection).get_table_names()
    if migrations.name not in present:
        if present:
            raise LedgerError(f"{where} is not a ledger: it holds other tables ({', '.join(sorted(present)[:5])})")
        migrations.create(connection)
    number = _number(connection)
    if number > len(MIGRATIONS):
        raise LedgerError(
            f"{where} was written by a newer WhyRank (schema {number}, this one knows {len(MIGRATIONS)}): "
            "upgrade WhyRank or set another --workdir"
        )
    for step, (name, apply) in enumerate(MIGRATIONS[number:], start=number + 1):
        apply(connection)
        connection.execute(migrations.insert().values(number=step, name=name, applied=now()))


def _number(connection: Connection) -> int:
    return connection.execute(select(func.max(migrations.c.number))).scalar() or 0
