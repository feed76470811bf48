"""The first paragraph: what was found, in words that claim no more than the verdicts do."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from whyrank.report.numbers import effect_text, interval_text
from whyrank.report.rows import Row

__all__ = ["Statement", "found", "not_causes", "sentence"]


@dataclass(frozen=True)
class Statement:
    """One sentence and the evidence it rests on."""

    text: str
    anchor: str


def _named(name: str, level: str, reference: str) -> str:
    if not level:
        return name
    return f"{name} = {level} (against {reference})" if reference else f"{name} = {level}"


def sentence(row: Row) -> str:
    """Say a validated effect in one sentence."""
    e, c = row.estimate, row.estimate.contrast
    low, high = (e.ci_low, e.ci_high) if e.estimate > 0 else (-e.ci_high, -e.ci_low)
    size = interval_text(abs(e.estimate), low, high, e.scale).replace("+", "")
    cause = _named(c.edge.cause, c.level, c.reference)
    if c.edge.modifier:
        difference = "higher" if e.estimate > 0 else "lower"
        where = _named(c.edge.modifier, c.modifier_level, c.modifier_reference)
        if not c.modifier_level:
            where = f"each unit more of {c.edge.modifier}"
        per = "" if c.level else "one unit more of "
        return f"The effect of {per}{cause} on {c.edge.effect} is {difference} by {size} with {where}."
    verb = "raises" if e.estimate > 0 else "lowers"
    subject = cause if c.level else f"One unit more of {cause}"
    return f"{subject} {verb} {c.edge.effect} by {size}."


def found(rows: Sequence[Row], outcomes: Collection[str], limit: int = 6) -> list[Statement]:
    """Say the strongest validated effects, those on `outcomes` before those on attributes."""
    validated = [row for row in rows if row.judgement.verdict == "validated"]
    validated.sort(key=lambda row: row.estimate.contrast.edge.effect not in outcomes)
    return [Statement(sentence(row), row.anchor) for row in validated[:limit]]


def not_causes(rows: Sequence[Row], limit: int = 4) -> list[Statement]:
    """Say which refuted edges looked like causes: there, the unadjusted contrast differs from zero."""
    statements = []
    for row in rows:
        e = row.estimate
        if row.judgement.verdict != "refuted" or not e.naive_significant or not math.isfinite(e.naive):
            continue
        naive = effect_text(e.naive, e.scale, width=e.se)
        adjusted = interval_text(e.estimate, e.ci_low, e.ci_high, e.scale)
        text = f"{row.label}: {naive} without adjustment, {adjusted} with it."
        statements.append(Statement(text, row.anchor))
    return statements[:limit]
