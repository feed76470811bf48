"""From one verdict back to the prompt and the data."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from whyrank.edge import Edge
from whyrank.errors import InputError, NameNotFound, nearest
from whyrank.ledger import schema
from whyrank.ledger.codec import read_json

__all__ = ["trace_label"]


def trace_label(connection: Connection, label: str) -> dict[str, Any]:
    """Collect what `Ledger.trace` returns."""
    v, e = schema.verdicts.c, schema.estimates.c
    known = {
        row.label: row.edge
        for query in (select(e.label, e.edge), select(v.label, v.edge))
        for row in connection.execute(query.distinct())
    }
    proposed = set(connection.execute(select(schema.hypotheses.c.edge).distinct()).scalars())
    label, edge = _resolve(label, known, proposed)
    verdict, verdict_set = _verdict(connection, label)
    estimate = _estimate(connection, label, verdict_set)
    checks = _checks(connection, estimate, verdict)
    if verdict is not None:
        judged = verdict.pop("estimate")
        judged.pop("checks")
        estimate = {**(estimate or {}), **judged}
    hypotheses = _hypotheses(connection, edge)
    said = verdict_set.fingerprint if verdict_set is not None else ""
    fingerprint = said or (estimate or {}).get("fingerprint", "")
    return {
        "edge": label,
        "verdict": verdict,
        "estimate": estimate,
        "checks": checks,
        "hypotheses": hypotheses,
        "calls": _calls(connection, [key for h in hypotheses for key in h["call_keys"]]),
        "fingerprint": _fingerprint(connection, fingerprint),
        "run": _run(connection, verdict_set.run) if verdict_set is not None else None,
    }


def _resolve(label: str, known: dict[str, str], proposed: set[str]) -> tuple[str, str]:
    """Return the contrast's label and its edge, from a label or from an edge with one contrast."""
    if label in known:
        return label, known[label]
    try:
        edge = str(Edge.parse(label))
    except InputError:
        edge = label
    if edge in known:
        return edge, known[edge]
    several = sorted(name for name, of in known.items() if of == edge)
    if len(several) == 1:
        return several[0], edge
    if several:
        raise NameNotFound(f"{label!r} has several contrasts, name one of them: {', '.join(several)}")
    if edge in proposed:
        return edge, edge
    raise NameNotFound(f"no edge {label!r} in the ledger{nearest(label, [*known, *proposed])}")


def _verdict(connection: Connection, label: str) -> tuple[dict[str, Any] | None, Row[Any] | None]:
    """Return the latest verdict on a label, validated first where one label was claimed in several ways."""
    v, s = schema.verdicts, schema.verdict_sets
    query = select(v.c.record, s).join(s).where(v.c.label == label)
    rows = connection.execute(query.order_by(s.c.number.desc(), v.c.position)).all()
    if not rows:
        return None, None
    latest = [row for row in rows if row.number == rows[0].number]
    records = [read_json(row.record) for row in latest]
    chosen = next((r for r in records if r["verdict"] == "validated"), records[0])
    return {**chosen, "set": latest[0].id, "created": latest[0].created}, latest[0]


def _estimate(connection: Connection, label: str, verdict_set: Row[Any] | None) -> dict[str, Any] | None:
    """Return the estimate that the verdict stands on; without a verdict's data, the latest one."""
    e = schema.estimates.c
    query = select(schema.estimates).where(e.label == label)
    if verdict_set is not None and verdict_set.fingerprint:
        same = (e.settings_hash == verdict_set.settings_hash) | e.settings_hash.startswith(
            f"{verdict_set.settings_hash}+", autoescape=True
        )  # with instruments that a proposer suggested
        query = query.where(e.fingerprint == verdict_set.fingerprint, same)
    row = connection.execute(query.order_by(e.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    record = read_json(row.record)
    record.pop("checks")
    return {
        **record,
        "id": row.id,
        "fingerprint": row.fingerprint,
        "settings_hash": row.settings_hash,
        "created": row.created,
    }


def _checks(
    connection: Connection, estimate: dict[str, Any] | None, verdict: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Return the checks as the verdict saw them (an audit may have joined later), else as they were estimated."""
    if verdict is not None:
        return list(verdict["estimate"]["checks"])
    if estimate is None:
        return []
    c = schema.checks.c
    query = select(c.record).where(c.estimate == estimate["id"]).order_by(c.position)
    return [read_json(text) for text in connection.execute(query).scalars()]


def _hypotheses(connection: Connection, edge: str) -> list[dict[str, Any]]:
    """Return who claimed the edge; for an edge with a modifier also who suggested that modifier for the plain edge."""
    h = schema.hypotheses.c
    plain, _, modifier = edge.partition(" | ")
    query = select(h.edge, h.record, h.created).where(h.edge.in_([edge, plain]))
    rows = connection.execute(query.order_by(h.round, h.source, h.edge, h.claimed_sign)).all()
    found = [(row.edge, {**read_json(row.record), "created": row.created}) for row in rows]
    return [record for written, record in found if written == edge or modifier in record["modifiers"]]


def _calls(connection: Connection, keys: list[str]) -> list[dict[str, Any]]:
    """Return every try under the keys, in the order the hypotheses name them."""
    c = schema.calls.c
    return [
        read_json(text)
        for key in dict.fromkeys(keys)
        for text in connection.execute(select(c.record).where(c.key == key).order_by(c.id)).scalars()
    ]


def _fingerprint(connection: Connection, fingerprint: str) -> dict[str, Any] | None:
    f = schema.fingerprints
    row = connection.execute(select(f).where(f.c.fingerprint == fingerprint)).one_or_none()
    if row is None:
        return {"fingerprint": fingerprint} if fingerprint else None
    return {
        "fingerprint": row.fingerprint,
        "rows": read_json(row._mapping["rows"]),
        "dropped": read_json(row.dropped),
        "findings": read_json(row.findings),
        "first_seen": row.first_seen,
    }


def _run(connection: Connection, run: str) -> dict[str, Any] | None:
    r, ends = schema.runs, schema.run_ends
    query = select(r, ends.c.finished, ends.c.status).outerjoin(ends).where(r.c.id == run)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return {
        **row._mapping,
        "settings": read_json(row.settings),
        "libraries": read_json(row.libraries),
        "status": row.status or "unfinished",
    }
