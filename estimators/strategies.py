"""Effects by another strategy than adjustment: instruments and the front door, on the rows of a panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from whyrank.edge import Edge
from whyrank.estimators.contrasts import Arm, arms
from whyrank.estimators.design import Codes, Columns, Floats
from whyrank.estimators.effects import Effect, blocked_effect
from whyrank.estimators.front_door import front_door
from whyrank.estimators.identify import Identification
from whyrank.estimators.instrument import InstrumentEffect, instrumented
from whyrank.estimators.panel import Panel
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.words import Language, say

__all__ = ["assigned_by", "by_instruments", "by_mediators", "strategy_notes", "why_open"]

Mask = npt.NDArray[np.bool_]


def assigned_by(effect: Effect, found: Identification, cause: str) -> str:
    """Return the attribute whose assignment the effect rests on: the cause itself, or the first instrument."""
    return found.instruments[0] if isinstance(effect, InstrumentEffect) else cause


def by_instruments(
    shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification, ways: Mapping[str, Codes]
) -> Effect:
    """Estimate one arm's effect from the instruments that identification found.

    Parameters
    ----------
    shared : the rows.
    edge, arm : the cause's levels compared; a cause of more than two levels would need an instrument for each.
    found : names the instruments and what to adjust for.
    ways : clusters of the standard errors.
    """
    panel, first = shared.panel, found.instruments[0]
    kind = panel.blocks[edge.cause].attribute.kind
    if kind in ("categorical", "ordinal") and len(arms(panel, edge.cause)) > 1:
        return blocked_effect(panel.n, "IV", 0.0, "levels and instrument")
    inside = [name for name in found.instruments if name in panel.blocks]
    if first not in inside:
        return blocked_effect(panel.n, "IV", 0.0, "weak instrument")
    adjust = np.unique(np.concatenate([shared.adjustment(found.adjust, name, "") for name in inside]))
    known = np.isfinite(arm.values)
    columns = []
    for name in inside:
        present, own = _columns_of(panel, name)
        known &= present
        columns.extend(own)
    if not known.any():
        return blocked_effect(panel.n, "IV", 0.0, "weak instrument")
    residual = _Residuals(shared, first, adjust, known)
    free = [c for c in columns if not shared.determined(first, np.where(known, c, np.nan), adjust)]
    if not free:
        return blocked_effect(panel.n, "IV", 0.0, "weak instrument")
    return instrumented(
        residual.outcome(),
        residual.of(arm.values, f"{edge.cause} {arm.level}"),
        np.column_stack([residual.of(column, f"instrument {i}") for i, column in enumerate(free)]),
        shared.folded(first).folds,
        ways=ways,
        pair=panel.pair if len(ways) == 2 else None,
        weight=shared.weights(first),
    )


def by_mediators(shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification) -> Effect:
    """Estimate one arm's effect through the mediators that identification found."""
    panel, cause = shared.panel, edge.cause
    adjust = shared.adjustment(found.adjust, cause, arm.level)
    levels = [a for a in arms(panel, cause) if a.bracket] if panel.blocks[cause].attribute.kind != "set" else []
    compared = levels or [arm]
    known = np.isfinite(arm.values) if not levels else np.any([a.rows | a.reference for a in levels], axis=0)
    columns = []
    for name in found.mediators:
        if name in panel.blocks:
            present, own = _columns_of(panel, name)
            known &= present
            columns.extend(own)
    if not columns or not known.any():
        return blocked_effect(panel.n, "front-door", 0.0, "mediators determined")
    if shared.determined(cause, np.where(known, arm.values, np.nan), adjust):
        return blocked_effect(panel.n, "front-door", 0.0, "determined")
    residual = _Residuals(shared, cause, adjust, known)
    causes = [np.where(a.rows, 1.0, 0.0) if levels else a.values for a in compared]
    which = next(i for i, a in enumerate(compared) if a.level == arm.level)
    return front_door(
        residual.outcome(),
        np.column_stack([residual.of(c, f"{cause} {a.level}") for c, a in zip(causes, compared, strict=True)]),
        np.column_stack([residual.of(column, f"mediator {i}") for i, column in enumerate(columns)]),
        which,
        float(np.var(causes[which][known])) * float(known.mean()),
        weight=shared.weights(cause),
    )


class _Residuals:
    """What the adjustment columns leave of things, out of fold, with the folds of one attribute's clusters.

    Outcome, cause, instruments and mediators are all predicted by the same learner.
    """

    def __init__(self, shared: SharedNuisances, assigned: str, adjust: Columns, known: Mask) -> None:
        self._shared, self._assigned, self._adjust, self._known = shared, assigned, adjust, known

    def outcome(self) -> Floats:
        y = self._shared.panel.y
        return self._left(y - self._shared.outcome(self._assigned, self._adjust, with_cause=False).fitted)

    def of(self, values: Floats, name: str) -> Floats:
        rows = values[self._known]
        centre, spread = float(rows.mean()), float(rows.std()) or 1.0
        target = np.where(self._known, (np.nan_to_num(values) - centre) / spread, 0.0)
        fit = self._shared.treatment(self._assigned, target, self._adjust, probability=False, name=name)
        return spread * self._left(target - fit.fitted)

    def _left(self, residual: Floats) -> Floats:
        return np.where(self._known, residual - float(residual[self._known].mean()), 0.0)


def _columns_of(panel: Panel, name: str) -> tuple[Mask, list[Floats]]:
    """Return where an attribute is known, and its columns."""
    block = panel.blocks[name]
    known, columns = np.ones(panel.n, bool), []
    for level, place in zip(block.levels, block.columns, strict=True):
        column = panel.design.column(int(place)).astype(np.float64)
        if level == "missing?":
            known = column < 0.5
        else:
            columns.append(column)
    return known, columns


def why_open(found: Identification, language: Language, *, drawn: bool) -> str:
    """Say which path stays open, and what would or would not close it.

    Parameters
    ----------
    found : what identification found.
    language : of the study.
    drawn : whether the study has exposures whose item was drawn at random, or logged propensities.
    """
    said = say(language, "open path", path=found.open_path)
    if found.conditioned:
        said += say(language, "open path opened", name=found.conditioned)
    if found.rescuable:
        return said + say(language, "open path random")
    if drawn and found.open_path.startswith("items."):
        return said + say(language, "open path own")
    return said


def strategy_notes(effect: Effect, found: Identification, language: Language, *, drawn: bool) -> Sequence[str]:
    """Return the warnings that belong to the way in which an effect was identified.

    Parameters
    ----------
    effect : the effect.
    found : its identification.
    language : of the study.
    drawn : whether it was estimated on rows whose item was drawn at random, or weighted as if it had been.
    """
    said = []
    if found.trusted:
        said.append(say(language, "trusted", names=", ".join(found.trusted)))
    if effect.estimator == "IV":
        names = ", ".join(found.instruments)
        said.append(say(language, "by instruments", path=found.open_path, names=names))
    elif effect.estimator == "front-door":
        names = ", ".join(found.mediators)
        said.append(say(language, "by mediators", path=found.open_path, names=names))
    elif found.open_path and found.granted and drawn:
        said.append(say(language, "granted", names=", ".join(found.granted)))
    return said
