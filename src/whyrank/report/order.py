"""The order in which verdicts are read, and how strong an effect is next to others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from whyrank.estimators.estimate import Estimate, Judgement, VerdictName

__all__ = ["MARKS", "VERDICTS", "by_interest", "strength"]

VERDICTS: tuple[VerdictName, ...] = ("validated", "refuted", "inconclusive", "unidentifiable")
"""Verdicts, most telling first."""

MARKS: dict[VerdictName, str] = {"validated": "✓", "refuted": "✗", "inconclusive": "?", "unidentifiable": "∅"}
"""A sign for each verdict, so that colour never stands alone."""


def strength(estimate: Estimate, spread: Mapping[str, float]) -> float:
    """Return |effect| in standard deviations of the outcome, per standard deviation of a numeric cause or modifier.

    A log-odds effect has no unit already. Names missing in `spread` count as 1; an effect that is not a number is 0.
    """
    contrast, size = estimate.contrast, abs(estimate.estimate)
    if not math.isfinite(size):
        return 0.0
    if not contrast.level:
        size *= spread.get(contrast.edge.cause, 1.0)
    if contrast.edge.modifier and not contrast.modifier_level:
        size *= spread.get(contrast.edge.modifier, 1.0)
    outcome = 1.0 if estimate.scale == "log-odds" else spread.get(contrast.edge.effect, 1.0)
    size = size / outcome if outcome > 0 else size
    return size if math.isfinite(size) else 0.0


def by_interest(judgements: Iterable[Judgement], spread: Mapping[str, float]) -> list[Judgement]:
    """Sort by verdict, then strongest first, then by name."""
    return sorted(
        judgements,
        key=lambda j: (
            VERDICTS.index(j.verdict),
            -strength(j.estimate, spread),
            j.estimate.contrast.label,
            j.estimate.grain,
        ),
    )
