"""Hypotheses that no model proposes: every edge that can be tested, or the edges of a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from whyrank.datasets.study_data import StudyData
from whyrank.datasets.tiers import allowed
from whyrank.edge import Edge, Hypothesis, Sign
from whyrank.errors import DataError, InputError, nearest

__all__ = ["propose_exhaustive", "read_hypotheses", "write_hypotheses"]


def propose_exhaustive(data: StudyData) -> list[Hypothesis]:
    """Return every testable attribute on every outcome, in the study's order, without modifiers or claimed signs."""
    edges = (Edge(cause, effect) for effect in data.outcomes for cause in data.attributes if cause != effect)
    return [Hypothesis(edge, source="exhaustive") for edge in edges if not allowed(edge, data)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    edge: str
    claimed_sign: Sign = ""
    mechanism: str = ""
    confounders: list[str] = []
    modifiers: list[str] = []
    instruments: list[str] = []
    confidence: float | None = None
    likelihood: float | None = None
    unmeasured: list[str] = []


def read_hypotheses(path: Path | str, data: StudyData) -> list[Hypothesis]:
    """Read hypotheses from a JSONL file: `{"edge": "items.price -> events.purchase", "claimed_sign": "-", ...}`.

    `claimed_sign` ("+", "-" or ""), `mechanism`, `confounders`, `modifiers`, `instruments`, `confidence`, `likelihood`
    and `unmeasured` (common causes in words, which no column holds) are optional. Of two lines with the same edge and
    sign the first counts; blank lines are skipped.

    Raises
    ------
    InputError
        With the line's number: not JSON, an unknown key or name, or an edge that can't be tested in this study.
    DataError
        If the file can't be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"hypotheses {str(path)!r} can't be read: {error}") from error
    found: dict[tuple[Edge, Sign], Hypothesis] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            hypothesis = _parse(line, data)
        except InputError as error:
            raise InputError(f"{path.name}, line {number}: {error}") from error
        found.setdefault((hypothesis.edge, hypothesis.claimed_sign), hypothesis)
    return list(found.values())


def write_hypotheses(hypotheses: Iterable[Hypothesis], path: Path | str) -> None:
    """Write hypotheses as JSONL that `read_hypotheses` reads; source, round and calls stay behind."""
    lines = []
    for h in hypotheses:
        entry: dict[str, Any] = {"edge": str(h.edge), "claimed_sign": h.claimed_sign}
        if h.mechanism:
            entry["mechanism"] = h.mechanism
        if h.confounders:
            entry["confounders"] = list(h.confounders)
        if h.modifiers:
            entry["modifiers"] = list(h.modifiers)
        if h.instruments:
            entry["instruments"] = list(h.instruments)
        if h.confidence is not None:
            entry["confidence"] = h.confidence
        if h.likelihood is not None:
            entry["likelihood"] = h.likelihood
        if h.unmeasured:
            entry["unmeasured"] = list(h.unmeasured)
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


def _parse(line: str, data: StudyData) -> Hypothesis:
    try:
        said = _Line.model_validate_json(line)
    except ValidationError as error:
        raise InputError(_complaint(error)) from error
    edge = Edge.parse(said.edge)
    reason = allowed(edge, data)
    if reason:
        raise InputError(f"edge {said.edge!r} can't be tested: {reason}")
    for part, names in (
        ("confounder", said.confounders),
        ("modifier", said.modifiers),
        ("instrument", said.instruments),
    ):
        for name in names:
            if name not in data.attributes:
                raise InputError(f"{part} {name!r} is not an attribute of this study{nearest(name, data.attributes)}")
    if said.confidence is not None and not 0 <= said.confidence <= 1:
        raise InputError(f"confidence {said.confidence!r} is not between 0 and 1")
    if said.likelihood is not None and not math.isfinite(said.likelihood):
        raise InputError(f"likelihood {said.likelihood!r} is not a finite number")
    if any(not cause.strip() for cause in said.unmeasured):
        raise InputError(f"unmeasured {said.unmeasured!r} names a cause without a name")
    return Hypothesis(
        edge=edge,
        claimed_sign=said.claimed_sign,
        mechanism=said.mechanism,
        confounders=tuple(dict.fromkeys(said.confounders)),
        modifiers=tuple(dict.fromkeys(said.modifiers)),
        source="file",
        confidence=said.confidence,
        instruments=tuple(dict.fromkeys(said.instruments)),
        likelihood=said.likelihood,
        unmeasured=tuple(dict.fromkeys(" ".join(cause.split()) for cause in said.unmeasured)),
    )


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return f"not a JSON object: {first['msg']}"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}{nearest(key, _Line.model_fields)}; the keys are {', '.join(_Line.model_fields)}"
    if first["type"] == "missing":
        return f"the key {key!r} is missing"
    return f"{key or 'the line'}: {first['msg']}, got {first['input']!r}"
