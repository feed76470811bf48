"""Which comparisons an edge stands for: a level against the reference, or per unit; by levels of a modifier or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whyrank.edge import Contrast, Edge
from whyrank.errors import InputError
from whyrank.estimators.panel import Block, Floats, Panel

__all__ = ["Arm", "arms", "base_contrasts", "with_modifier"]


@dataclass(frozen=True)
class Arm:
    """One comparison: rows at a level and rows at what it is compared with, or the values of a numeric attribute.

    Attributes
    ----------
    level, against : the two levels; empty for a numeric attribute.
    bracket : whether a label shows the level.
    rows, reference : masks of the two, shape (n,); for a numeric attribute, rows with a value, and none.
    numeric, raw : whether it is numeric, and then its values (NaN missing).
    """

    level: str
    against: str
    bracket: bool
    rows: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    numeric: bool = False
    raw: Floats | None = None

    @property
    def values(self) -> Floats:
        """The attribute as one number a row; NaN where the row belongs to neither side."""
        if self.raw is not None:
            return self.raw
        return np.where(self.rows, 1.0, np.where(self.reference, 0.0, np.nan))


def arms(panel: Panel, name: str) -> list[Arm]:
    """Return the comparisons that one attribute allows in this panel.

    Raises
    ------
    InputError
        If the attribute doesn't vary in the panel, or isn't there.
    """
    if name not in panel.blocks:
        raise InputError(f"{name!r} does not vary in the rows of {panel.outcome!r}, or is not known there")
    block, values = panel.blocks[name], panel.values(name)
    attribute = block.attribute
    if attribute.kind == "numeric":
        known = np.isfinite(values)
        return [Arm("", "", False, known, np.zeros(panel.n, bool), numeric=True, raw=values)]
    if attribute.kind == "binary":
        return [Arm(attribute.levels[1], attribute.levels[0], False, values == 1, values == 0)]
    out = []
    for level, column in _named(block):
        if attribute.kind == "set":
            has = panel.design.column(column) > 0.5
            out.append(Arm(level, f"without {level}", True, has, ~has & ~_missing(panel, block)))
        else:
            code = block.levels.index(level) + 1
            out.append(Arm(level, attribute.reference, True, values == code, values == 0))
    return out


def _named(block: Block) -> list[tuple[str, int]]:
    pairs = zip(block.levels, block.columns, strict=True)
    return [(level, int(column)) for level, column in pairs if level not in ("missing?", "pooled?")]


def _missing(panel: Panel, block: Block) -> npt.NDArray[np.bool_]:
    if "missing?" not in block.levels:
        return np.zeros(panel.n, bool)
    return np.asarray(panel.design.column(int(block.columns[block.levels.index("missing?")])) > 0.5)


def base_contrasts(panel: Panel, edge: Edge) -> list[tuple[Contrast, Arm]]:
    """Return the contrasts of the edge without its modifier."""
    plain = Edge(edge.cause, edge.effect)
    return [(Contrast(plain, arm.level, arm.against, bracket=arm.bracket), arm) for arm in arms(panel, edge.cause)]


def with_modifier(contrast: Contrast, modifier: str, arm: Arm) -> Contrast:
    """Return the contrast of how that effect differs between two levels of a modifier."""
    edge = Edge(contrast.edge.cause, contrast.edge.effect, modifier)
    return Contrast(edge, contrast.level, contrast.reference, arm.level, arm.against, contrast.bracket, arm.bracket)
