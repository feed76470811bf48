"""What attributes do to purchases in a simulated shop, and the true average effects over its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whyrank.datasets.world.columns import Column, Interaction
from whyrank.datasets.world.draw import Floats

__all__ = ["TRUTH_COLUMNS", "Predictor", "reference", "true_effects"]

TRUTH_COLUMNS: tuple[str, ...] = (
    "edge", "cause", "level", "reference", "effect",
    "modifier", "modifier_level", "modifier_reference", "estimate", "causal",
)  # fmt: skip
"""Columns of the truth table, in order."""

_OUTCOME = "events.purchase"
_BOUNDS = (0.02, 0.98)


def reference(column: Column, values: pd.Series) -> str:
    """Return the reference level: of a binary column the first in sort order, else the most frequent one."""
    if column.kind == "numeric":
        return ""
    if column.kind == "binary":
        return min(column.levels)
    counts = {str(level): int(n) for level, n in values.value_counts().items()}
    return min(counts, key=lambda level: (-counts[level], level))


def contrasts(column: Column, values: pd.Series) -> list[tuple[str, str]]:
    """Return (level, reference) of every contrast of a column; a numeric one has ("", "")."""
    ref = reference(column, values)
    return [("", "")] if column.kind == "numeric" else [(v, ref) for v in sorted(column.levels) if v != ref]


@dataclass(frozen=True)
class Predictor:
    """The probability of a purchase as a function of the attributes of rows.

    The linear predictor adds the effects of the attributes, centred, to `start`. Its link is the identity, kept
    within 0.02..0.98; with `nonlinear` the logistic function, and numeric attributes act through a parabola.

    Attributes
    ----------
    columns : the attributes of the world.
    interactions : true modifiers.
    scale : factor on every effect; 0 for a null world.
    base : probability of a purchase of an average row.
    nonlinear : curved effects and a logistic link.
    """

    columns: tuple[Column, ...]
    interactions: tuple[Interaction, ...]
    scale: float
    base: float
    nonlinear: bool

    def link(self, eta: Floats) -> Floats:
        """Return the probability for a linear predictor in probability units around `base`."""
        if not self.nonlinear:
            return np.clip(eta, *_BOUNDS)
        slope = self.base * (1 - self.base)
        return np.asarray(1 / (1 + (1 / self.base - 1) * np.exp((self.base - eta) / slope)))

    def link_slope(self, eta: Floats) -> Floats:
        """Return the derivative of `link`."""
        if not self.nonlinear:
            return np.asarray((eta > _BOUNDS[0]) & (eta < _BOUNDS[1]), dtype=np.float64)
        p = self.link(eta)
        return np.asarray(p * (1 - p) / (self.base * (1 - self.base)))

    def numeric_effect(self, column: Column, values: Floats) -> tuple[Floats, Floats]:
        """Return the effect of a numeric attribute at these values, and its derivative."""
        t = (values - column.mean) / column.sd
        per_unit = self.scale * column.effects.get("", 0.0)
        if not self.nonlinear:
            return per_unit * column.sd * t, np.full(len(t), per_unit)
        return per_unit * column.sd * (t + 0.4 * (t**2 - 1)), per_unit * (1 + 0.8 * t)

    def main_effect(self, column: Column, values: pd.Series) -> Floats:
        """Return the centred effect of one attribute on each row."""
        if column.kind == "numeric":
            return self.numeric_effect(column, values.to_numpy(dtype=np.float64))[0]
        by_level = np.array([self.scale * column.effects.get(level, 0.0) for level in column.levels])
        return np.asarray((by_level - by_level @ np.array(column.shares))[_codes(values)])

    def linear(self, rows: Mapping[str, pd.Series], start: Floats) -> Floats:
        """Return the linear predictor of rows; `start` holds the random effects."""
        eta = self.base + start
        for column in self.columns:
            if column.effects:
                eta = eta + self.main_effect(column, rows[column.name])
        for term in self.interactions:
            cause, modifier = (self.carrier(name, rows[name]) for name in (term.cause, term.modifier))
            eta = eta + self.scale * term.effect * cause * modifier
        return eta

    def carrier(self, name: str, values: pd.Series) -> Floats:
        """Return what a column brings into a product: 0/1, or the distance of a number from its mean."""
        return _carry(next(c for c in self.columns if c.name == name), values)

    def shift(self, column: Column, level: str, rows: Mapping[str, pd.Series]) -> Floats:
        """Return what setting a column to `level` in every row adds to the linear predictor."""
        now = rows[column.name]
        everywhere = pd.Series(pd.Categorical([level], categories=list(column.levels)))
        delta: Floats = self.main_effect(column, everywhere)[0] - self.main_effect(column, now)
        for name, effect in self._partners(column):
            delta = delta + effect * self.carrier(name, rows[name]) * (float(level == "1") - _carry(column, now))
        return delta

    def slope(self, column: Column, rows: Mapping[str, pd.Series]) -> Floats:
        """Return the derivative of the linear predictor in a numeric column."""
        slope = self.numeric_effect(column, rows[column.name].to_numpy(dtype=np.float64))[1]
        for name, effect in self._partners(column):
            slope = slope + effect * self.carrier(name, rows[name])
        return slope

    def _partners(self, column: Column) -> list[tuple[str, float]]:
        pairs = [(t.cause, t.modifier, t.effect * self.scale) for t in self.interactions]
        return [(m, e) for c, m, e in pairs if c == column.name] + [(c, e) for c, m, e in pairs if m == column.name]

    def moves(self, column: Column, level: str) -> bool:
        """Tell whether the level (numeric: the column) has any effect."""
        return bool(self.scale) and (level in column.effects or (level in ("", "1") and bool(self._partners(column))))


def _codes(values: pd.Series) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return np.asarray(values.cat.codes)
    return values.to_numpy(dtype=np.int8)


def _carry(column: Column, values: pd.Series) -> Floats:
    if column.kind == "numeric":
        return np.asarray(values.to_numpy(dtype=np.float64) - column.mean)
    return _codes(values).astype(np.float64)


def _row_effect(
    predictor: Predictor, column: Column, level: str, ref: str, rows: Mapping[str, pd.Series], eta: Floats
) -> Floats:
    """Return the effect of one contrast on every row, all else as it was."""
    if column.kind == "numeric":
        return predictor.link_slope(eta) * predictor.slope(column, rows)
    treated, control = (predictor.link(eta + predictor.shift(column, v, rows)) for v in (level, ref))
    return treated - control


def true_effects(
    predictor: Predictor,
    rows: Mapping[str, pd.Series],
    eta: Floats,
    modified: tuple[tuple[str, str], ...],
) -> pd.DataFrame:
    """Return the truth table: average effects over the rows of the log, all else as it was.

    Parameters
    ----------
    predictor : the world's law.
    rows : value of every attribute on every exposure, by name.
    eta : linear predictor of every exposure.
    modified : (cause, modifier) pairs that get a row of their own: the difference of the mean effect between the
        rows at the modifier's level and those at its reference; for a numeric modifier the least-squares slope.
    """
    by_name = {c.name: c for c in predictor.columns}
    table: list[dict[str, object]] = []
    for column in predictor.columns:
        for level, ref in contrasts(column, rows[column.name]):
            effect = _row_effect(predictor, column, level, ref, rows, eta)
            table.append(_truth(column, level, ref, float(effect.mean()), predictor.moves(column, level)))
    for cause, name in modified:
        column, modifier = by_name[cause], by_name[name]
        ((level, ref),) = contrasts(column, rows[cause])
        ((high, low),) = contrasts(modifier, rows[name])
        effect = _row_effect(predictor, column, level, ref, rows, eta)
        carrier = _carry(modifier, rows[name])
        estimate = float(np.polyfit(carrier, effect, 1)[0]) if effect.any() else 0.0
        true = predictor.moves(column, level) and any(
            (t.cause, t.modifier) == (cause, name) for t in predictor.interactions
        )
        table.append(_truth(column, level, ref, estimate, true, name, high, low))
    return pd.DataFrame(table, columns=list(TRUTH_COLUMNS))


def _truth(
    column: Column,
    level: str,
    ref: str,
    estimate: float,
    causal: bool,
    modifier: str = "",
    modifier_level: str = "",
    modifier_reference: str = "",
) -> dict[str, object]:
    bracket = f"[{level}]" if column.kind == "categorical" else ""
    tail = f" | {modifier}" if modifier else ""
    return {
        "edge": f"{column.name}{bracket} -> {_OUTCOME}{tail}",
        "cause": column.name,
        "level": level,
        "reference": ref,
        "effect": _OUTCOME,
        "modifier": modifier,
        "modifier_level": modifier_level,
        "modifier_reference": modifier_reference,
        "estimate": estimate if causal else 0.0,
        "causal": int(causal),
    }
