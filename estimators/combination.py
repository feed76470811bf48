"""Levels that never occur together: what no propensity model should be trusted to say, because it always says a little.

A penalised regression gives a brand that exists in one category only a small probability everywhere else. Here it is
counted: a level of another attribute in which an arm should have occurred many times, and (almost) never did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whyrank.estimators.contrasts import Arm
from whyrank.estimators.panel import Panel

__all__ = ["Apart", "never_together"]

_MIN_CLUSTERS = 10.0
"""Items (or users) that should have had both levels, where the other attribute is of the same table."""

_MIN_ROWS = 200.0
"""Rows that should have had both levels, where it isn't."""

_ALMOST = 0.005
"""Share of them up to which it is never."""


@dataclass(frozen=True)
class Apart:
    """One level of the cause, or its reference, that doesn't occur where another attribute has some level.

    Attributes
    ----------
    level : of the cause.
    name, other : the other attribute and its level.
    """

    level: str
    name: str
    other: str


def never_together(
    panel: Panel, cause: str, arm: Arm, names: Sequence[str]
) -> tuple[npt.NDArray[np.bool_], tuple[Apart, ...]]:
    """Find the levels of other attributes in which one side of a comparison never occurs.

    Parameters
    ----------
    panel : the rows.
    cause, arm : the attribute and the two levels compared.
    names : the attributes adjusted for.

    Returns
    -------
    Mask of the rows in which both sides occur, and what never occurs together.
    """
    found: list[Apart] = []
    reach = np.ones(panel.n, bool)
    kind, codes = panel.cluster_of(cause)
    one_each = np.unique(codes, return_index=True)[1]
    for name in names:
        block = panel.blocks.get(name)
        if block is None or block.attribute.kind in ("numeric", "set"):
            continue
        same = panel.cluster_of(name)[0] == kind != "rows"
        rows, least = (one_each, _MIN_CLUSTERS) if same else (slice(None), _MIN_ROWS)
        for side, other, code in _empty(panel, name, arm, rows, least):
            found.append(Apart(side, name, other))
            reach &= panel.values(name) != code
    return reach, tuple(found)


def _empty(
    panel: Panel, name: str, arm: Arm, rows: npt.NDArray[np.intp] | slice, least: float
) -> Iterator[tuple[str, str, float]]:
    """Yield (side of the comparison, level of the other attribute, its code) for each that never occur together."""
    block = panel.blocks[name]
    values, level, reference = panel.values(name)[rows], arm.rows[rows], arm.reference[rows]
    both = int(level.sum()) + int(reference.sum())
    if not both:
        return
    attribute = block.attribute
    if attribute.kind == "binary":
        others = {0.0: attribute.levels[0], 1.0: attribute.levels[1]}
    else:
        kept = [other for other in block.levels if other not in ("missing?", "pooled?")]
        others = {0.0: attribute.reference} | {i + 1.0: other for i, other in enumerate(kept)}
    for code, other in others.items():
        here = values == code
        counts: list[tuple[str, npt.NDArray[np.bool_], int]] = [(arm.level, level, int(level.sum()))]
        counts.append((arm.against, reference, int(reference.sum())))
        total = int((here & (level | reference)).sum())
        for side, rows_of, overall in counts:
            expected = total * overall / both
            if expected >= least and int((here & rows_of).sum()) <= _ALMOST * expected:
                yield side, other, code
