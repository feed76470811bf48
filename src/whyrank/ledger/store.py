"""The ledger: everything that led to a verdict, written once and never changed."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine, Row, select

from whyrank.agents.calls import CallRecord
from whyrank.agents.rounds import Round
from whyrank.datasets.study_data import StudyData
from whyrank.edge import Hypothesis
from whyrank.errors import LedgerError
from whyrank.estimators.estimate import Check, Estimate, Judgement
from whyrank.ledger import schema
from whyrank.ledger.codec import decode, encode, read_json, write_json
from whyrank.ledger.database import insert_new, open_engine, reading, writing
from whyrank.ledger.trace import trace_label

__all__ = ["Ledger", "Run", "VerdictSet"]

_LIBRARIES = (
    "dowhy", "duckdb", "econml", "lightgbm", "networkx", "numpy", "openai", "pandas", "pyarrow", "pydantic",
    "scikit-learn", "scipy", "sqlalchemy", "xllamacpp",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run of a command.

    Attributes
    ----------
    id : unique name.
    started, finished : UTC, ISO 8601; `finished` is "" while it runs, and for ever if it was killed.
    status : "unfinished", or what `finish_run` was told.
    command : as it was given.
    settings : JSON-ready settings that numbers depend on.
    version : WhyRank's version.
    libraries : versions of the libraries it stood on.
    """

    id: str
    started: str
    finished: str
    status: str
    command: str
    settings: dict[str, Any]
    version: str
    libraries: dict[str, str]


@dataclass(frozen=True)
class VerdictSet:
    """One finished set of verdicts, and the data and settings it was reached with ("" where not said)."""

    id: str
    fingerprint: str
    settings_hash: str
    run: str
    created: str


class Ledger:
    """Append-only record of runs, calls, hypotheses, estimates, checks, verdicts and data fingerprints.

    Every method is one transaction: a kill at any moment loses at most what was being written. Two processes may write
    at once. Adding what is already there does nothing.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder, Ledger.open(pathlib.Path(folder) / "ledger.sqlite") as ledger:
    ...     ledger.mark_stage("propose", "exhaustive-1")
    ...     ledger.stage_done("propose", "exhaustive-1")
    True
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._where = where

    @classmethod
    def open(cls, path_or_url: str | Path) -> Self:
        """Open a ledger, and make it if there is none.

        Parameters
        ----------
        path_or_url
            A file (its folder is made), or a database address such as `postgresql+psycopg://host/name`.

        Raises
        ------
        LedgerError
            If the file isn't a SQLite database or not a ledger, or a newer WhyRank wrote it.
        """
        engine, where = open_engine(path_or_url)
        try:
            with reading(engine, where) as connection:
                current = schema.is_current(connection)
            if not current:
                with writing(engine, where) as connection:
                    schema.migrate(connection, where)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, where)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self._where}>"

    # runs

    def start_run(self, command: str, settings: Mapping[str, Any]) -> str:
        """Write down that a run begins, and return its id."""
        run = uuid.uuid4().hex
        row = {
            "id": run,
            "started": schema.now(),
            "command": command,
            "settings": write_json(dict(settings)),
            "version": _version("whyrank"),
            "libraries": write_json({name: found for name in _LIBRARIES if (found := _version(name))}),
        }
        with writing(self._engine, self._where) as connection:
            connection.execute(schema.runs.insert().values(row))
        return run

    def finish_run(self, run: str, status: str = "finished") -> None:
        """Write down that a run ended, once; a second end is ignored."""
        row = {"run": run, "finished": schema.now(), "status": status}
        with writing(self._engine, self._where) as connection:
            connection.execute(insert_new(connection, schema.run_ends, row))

    def runs(self) -> list[Run]:
        """Return every run, oldest first."""
        query = select(schema.runs, schema.run_ends.c.finished, schema.run_ends.c.status).outerjoin(schema.run_ends)
        return [
            Run(
                row.id, row.started, row.finished or "", row.status or "unfinished", row.command,
                read_json(row.settings), row.version, read_json(row.libraries),
            )
            for row in self._rows(query.order_by(schema.runs.c.started, schema.runs.c.id))
        ]  # fmt: skip

    # model calls (the store that agents are given)

    def get(self, key: str) -> CallRecord | None:
        """Return what was answered under `key`: the first success, else the last failure, else None."""
        calls = schema.calls.c
        rows = self._rows(select(calls.error, calls.record).where(calls.key == key).order_by(calls.id))
        if not rows:
            return None
        return decode(CallRecord, next((row.record for row in rows if not row.error), rows[-1].record))

    def put(self, record: CallRecord) -> None:
        """Keep one model call; a failed one may be followed by a successful one under the same key."""
        content = dataclasses.replace(record, created_at="", seconds=0.0)
        row = {
            "key": record.key,
            "digest": _digest(encode(content)),
            "purpose": record.purpose,
            "model": record.model,
            "prompt_hash": record.prompt_hash,
            "error": record.error or None,
            "created_at": record.created_at,
            "record": encode(record),
        }
        with writing(self._engine, self._where) as connection:
            connection.execute(insert_new(connection, schema.calls, row))

    # hypotheses

    def add_hypotheses(self, hypotheses: Iterable[Hypothesis]) -> None:
        """Keep hypotheses; of those with the same edge, source, round and claimed sign the first one stays."""
        rows = _hypothesis_rows(hypotheses)
        with writing(self._engine, self._where) as connection:
            for row in rows:
                connection.execute(insert_new(connection, schema.hypotheses, row))

    def hypotheses(self) -> list[Hypothesis]:
        """Return every hypothesis, by round, source, edge and claimed sign: whoever wrote it when."""
        h = schema.hypotheses.c
        query = select(h.record).order_by(h.round, h.source, h.edge, h.claimed_sign)
        return [decode(Hypothesis, row.record) for row in self._rows(query)]

    def stage_done(self, name: str, key: str) -> bool:
        """Tell whether the stage `name` was finished for `key` (a hash of what it depends on)."""
        s = schema.stages.c
        return bool(self._rows(select(s.name).where(s.name == name, s.key == key)))

    def mark_stage(self, name: str, key: str) -> None:
        """Write down that the stage `name` is finished for `key`."""
        with writing(self._engine, self._where) as connection:
            row = {"name": name, "key": key, "finished": schema.now()}
            connection.execute(insert_new(connection, schema.stages, row))

    def add_round(self, key: str, round: Round, hypotheses: Iterable[Hypothesis] = ()) -> None:
        """Keep a finished round of the loop and its hypotheses, all or none; `key` hashes what the loop depends on."""
        rows = _hypothesis_rows(hypotheses)
        row = {
            "key": key,
            "number": round.number,
            "proposed": round.proposed,
            "kept": round.kept,
            "calls": round.calls,
            "record": encode(round),
            "finished": schema.now(),
        }
        with writing(self._engine, self._where) as connection:
            for hypothesis in rows:
                connection.execute(insert_new(connection, schema.hypotheses, hypothesis))
            connection.execute(insert_new(connection, schema.rounds, row))

    def rounds(self, key: str) -> list[Round]:
        """Return the finished rounds of the loop under a key, the first one first."""
        r = schema.rounds.c
        query = select(r.record).where(r.key == key).order_by(r.number)
        return [decode(Round, row.record) for row in self._rows(query)]

    # data

    def add_fingerprint(self, data: StudyData) -> None:
        """Keep what the data looked like when its fingerprint was first seen."""
        row = {
            "fingerprint": data.fingerprint,
            "rows": write_json({name: len(getattr(data, name)) for name in ("users", "items", "events")}),
            "dropped": write_json(data.dropped),
            "findings": write_json(list(data.findings)),
            "first_seen": schema.now(),
        }
        with writing(self._engine, self._where) as connection:
            connection.execute(insert_new(connection, schema.fingerprints, row))

    # estimates and verdicts

    def add_estimate(self, fingerprint: str, settings_hash: str, estimate: Estimate) -> None:
        """Keep one estimate with its checks; the first one for the same data, settings and contrast stays."""
        self.add_estimates(fingerprint, settings_hash, [estimate])

    def add_estimates(self, fingerprint: str, settings_hash: str, estimates: Iterable[Estimate]) -> None:
        """Keep a batch of estimates, all or none."""
        rows = [(_estimate_row(fingerprint, settings_hash, e), e.checks) for e in estimates]
        with writing(self._engine, self._where) as connection:
            for row, checks in rows:
                statement = insert_new(connection, schema.estimates, row).returning(schema.estimates.c.id)
                number = connection.execute(statement).scalar()
                if number is not None and checks:
                    connection.execute(schema.checks.insert(), [_check_row(number, i, c) for i, c in enumerate(checks)])

    def estimates(self, fingerprint: str, settings_hash: str) -> list[Estimate]:
        """Return the estimates made from this data with these settings, by label."""
        e, c = schema.estimates.c, schema.checks.c
        mine = (e.fingerprint == fingerprint) & (e.settings_hash == settings_hash)
        with reading(self._engine, self._where) as connection:
            rows = connection.execute(select(e.id, e.record).where(mine).order_by(e.label)).all()
            gates: dict[int, list[Check]] = {row.id: [] for row in rows}
            query = select(c.estimate, c.record).join(schema.estimates).where(mine).order_by(c.estimate, c.position)
            for row in connection.execute(query):
                gates[row.estimate].append(decode(Check, row.record))
        return [dataclasses.replace(decode(Estimate, row.record), checks=tuple(gates[row.id])) for row in rows]

    def add_verdicts(
        self,
        set_id: str,
        judgements: Sequence[Judgement],
        *,
        fingerprint: str = "",
        settings_hash: str = "",
        run: str = "",
    ) -> None:
        """Keep a finished set of verdicts, all or none.

        Parameters
        ----------
        set_id
            Name of the set; the same set again does nothing.
        judgements
            In the order in which they are to be shown.
        fingerprint, settings_hash, run
            The data, the settings and the run they were reached with: what `trace` follows.

        Raises
        ------
        LedgerError
            If `set_id` already holds other verdicts.
        """
        records = [encode(j) for j in judgements]
        digest = _digest("\n".join(records))
        sets = schema.verdict_sets
        head = {
            "id": set_id,
            "fingerprint": fingerprint,
            "settings_hash": settings_hash,
            "run": run,
            "digest": digest,
            "created": schema.now(),
        }
        with writing(self._engine, self._where) as connection:
            known = connection.execute(select(sets.c.digest).where(sets.c.id == set_id)).scalar()
            if known is not None:
                if known != digest:
                    raise LedgerError(
                        f"the verdict set {set_id!r} already holds other verdicts: a new set needs an id of its own"
                    )
                return
            number = connection.execute(sets.insert().values(head).returning(sets.c.number)).scalar_one()
            rows = [
                _verdict_row(number, i, j, record)
                for i, (j, record) in enumerate(zip(judgements, records, strict=True))
            ]
            if rows:
                connection.execute(schema.verdicts.insert(), rows)

    def verdict_sets(self) -> list[VerdictSet]:
        """Return every verdict set, oldest first."""
        s = schema.verdict_sets.c
        query = select(s.id, s.fingerprint, s.settings_hash, s.run, s.created).order_by(s.number)
        return [VerdictSet(**row._mapping) for row in self._rows(query)]

    def judgements(self, set_id: str | None = None) -> list[Judgement]:
        """Return the verdicts of one set, in the order they were given; without a name, of the latest set.

        Raises
        ------
        LedgerError
            If there is no set of that name.
        """
        s, v = schema.verdict_sets.c, schema.verdicts.c
        wanted = select(s.number).order_by(s.number.desc()).limit(1)
        if set_id is not None:
            wanted = wanted.where(s.id == set_id)
        with reading(self._engine, self._where) as connection:
            number = connection.execute(wanted).scalar()
            if number is None:
                if set_id is None:
                    return []
                raise LedgerError(f"{self._where} has no verdict set {set_id!r}")
            query = select(v.record).where(v.verdict_set == number).order_by(v.position)
            return [decode(Judgement, row.record) for row in connection.execute(query)]

    def trace(self, label: str) -> dict[str, Any]:
        """Follow one verdict back to its estimate, its checks, its data, its hypotheses and the prompts behind them.

        Parameters
        ----------
        label
            An edge as the verdict table writes it, brackets included; an edge without brackets will do if it has only
            one contrast.

        Returns
        -------
        dict
            JSON-ready, with keys `edge`, `verdict`, `estimate`, `checks`, `hypotheses`, `calls`, `fingerprint`, `run`.

        Raises
        ------
        NameNotFound
            If the ledger knows no such edge, or it has several contrasts.
        """
        with reading(self._engine, self._where) as connection:
            return trace_label(connection, label)

    def _rows(self, query: Any) -> Sequence[Row[Any]]:
        with reading(self._engine, self._where) as connection:
            return connection.execute(query).all()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _hypothesis_rows(hypotheses: Iterable[Hypothesis]) -> list[dict[str, Any]]:
    created = schema.now()
    return [
        {
            "edge": str(h.edge),
            "source": h.source,
            "round": h.round,
            "claimed_sign": h.claimed_sign,
            "record": encode(h),
            "created": created,
            "likelihood": h.likelihood,
            "unmeasured": ", ".join(h.unmeasured) or None,
        }
        for h in hypotheses
    ]


def _estimate_row(fingerprint: str, settings_hash: str, e: Estimate) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "settings_hash": settings_hash,
        "label": e.contrast.label,
        "edge": str(e.contrast.edge),
        "estimate": _number(e.estimate),
        "se": _number(e.se),
        "p_value": _number(e.p_value),
        "record": encode(dataclasses.replace(e, checks=())),
        "created": schema.now(),
    }


def _check_row(estimate: int, position: int, check: Check) -> dict[str, Any]:
    return {
        "estimate": estimate,
        "position": position,
        "name": check.name,
        "passed": None if check.passed is None else int(check.passed),
        "statistic": _number(check.statistic),
        "threshold": _number(check.threshold),
        "detail": check.detail,
        "record": encode(check),
    }


def _verdict_row(number: int, position: int, j: Judgement, record: str) -> dict[str, Any]:
    return {
        "verdict_set": number,
        "position": position,
        "label": j.estimate.contrast.label,
        "edge": str(j.estimate.contrast.edge),
        "verdict": j.verdict,
        "q_value": _number(j.q_value),
        "claimed_sign": j.claimed_sign,
        "source": j.source,
        "record": record,
    }
