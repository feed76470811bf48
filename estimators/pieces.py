"""The cross-fitted pieces of one edge's average effect: what its variation between users is estimated from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whyrank.datasets.study_data import StudyData
from whyrank.datasets.tiers import possible_modifiers
from whyrank.edge import Contrast, Edge
from whyrank.errors import InputError
from whyrank.estimators.bootstrap import Inference, infer, random_signs
from whyrank.estimators.contrasts import arms, base_contrasts, with_modifier
from whyrank.estimators.effects import Effect, modified
from whyrank.estimators.estimating import effect_on_rows
from whyrank.estimators.evidence import clusters_of, lost_columns
from whyrank.estimators.folded import one_thread
from whyrank.estimators.front_door import FrontDoorEffect
from whyrank.estimators.identify import identify
from whyrank.estimators.instrument import InstrumentEffect
from whyrank.estimators.multiplicity import benjamini_hochberg
from whyrank.estimators.panel import Codes, Panel, build_panel, grain_of
from whyrank.estimators.selection import select
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.sums import clustered_error, sums_of
from whyrank.estimators.varying import Scores, scores_of
from whyrank.estimators.words import say

__all__ = ["ModifierRow", "Pieces", "modifier_rows", "modifiers_of", "pieces_of"]

_NAN = float("nan")
_UNSURE = Inference(_NAN, _NAN, _NAN, _NAN, _NAN, "t", _NAN)


@dataclass(frozen=True)
class ModifierRow:
    """How the effect differs between two levels of one user attribute, or per unit of it, others not held fixed.

    Attributes
    ----------
    modifier, level, reference : as in the verdict table.
    difference, se, ci_low, ci_high, p_value : of the difference, as the judge would estimate it.
    p_adjusted : Benjamini-Hochberg over the modifiers and levels of this edge.
    edge : the contrast as the verdict table would write it.
    """

    modifier: str
    level: str
    reference: str
    difference: float
    se: float
    ci_low: float
    ci_high: float
    p_value: float
    p_adjusted: float
    edge: str


@dataclass(frozen=True)
class Pieces:
    """One contrast's effect with what its errors are clustered by.

    Attributes
    ----------
    contrast, effect : what is compared, and its cross-fitted pieces.
    shared : the rows it was estimated on.
    ways, lost : clusters of the standard errors, and the columns lost to each.
    told : how sure the average is.
    blocked : empty, or the sentence that says why there is no estimate.
    """

    contrast: Contrast
    effect: Effect
    shared: SharedNuisances
    ways: Mapping[str, Codes]
    lost: Mapping[str, int]
    told: Inference
    blocked: str = ""

    @property
    def panel(self) -> Panel:
        """The rows."""
        return self.shared.panel

    def sure(self, effect: Effect) -> Inference:
        """Return how sure an effect on the same rows is."""
        sums = sums_of(effect, self.ways, self.lost)
        se = clustered_error(effect, sums, self.panel.pair if len(self.ways) == 2 else None)
        return infer(effect.estimate, se, sums, rows=effect.ess, signs=random_signs(self.shared.seed))

    def scores(self, n_users: int) -> Scores:
        """Return the rows as second stages take them."""
        user = self.panel.user
        if user is None:
            raise ValueError("the rows have no users")
        pair = self.panel.pair if len(self.ways) == 2 else None
        told = self.told
        return scores_of(self.effect, user, n_users, self.ways, pair, se=told.se, dof=told.dof, lost=self.lost)


def pieces_of(data: StudyData, edge: Edge, level: str | None = None) -> list[Pieces]:
    """Estimate the average effect of an edge as the judge does; one result per level of its cause.

    Parameters
    ----------
    data : the study.
    edge : the edge, without a modifier.
    level : only this level of a categorical cause.

    Raises
    ------
    InputError
        If the edge's rows have no users, its cause or effect doesn't vary, or the level isn't one of the cause's.
    """
    grain = grain_of(edge)
    if edge.modifier is not None:
        raise InputError(f"{str(edge)!r} names a modifier: effects by user look at all of them, so leave it out")
    if grain == "item":
        raise InputError(f"the effect of {str(edge)!r} can't vary between users: its rows are items")
    if data.config.events.kind == "purchases" and grain == "exposure":
        raise InputError(f"{str(edge)!r}: effects by user need exposures, and this log holds purchases only")
    shared = SharedNuisances(build_panel(data, edge.effect, grain), data.config.study.seed)
    panel = shared.panel
    for name, there in (
        (edge.effect, bool(panel.n and np.ptp(panel.y) > 0)),
        (edge.cause, edge.cause in panel.blocks and bool(arms(panel, edge.cause))),
    ):
        if not there:
            raise InputError(f"{str(edge)!r}: {name!r} doesn't vary in the rows, so there is nothing to compare")
    contrasts = base_contrasts(panel, edge)
    if level is not None:
        known = [contrast.level for contrast, _ in contrasts]
        contrasts = [pair for pair in contrasts if pair[0].level == level]
        if not contrasts:
            raise InputError(f"{edge.cause!r} has no level {level!r} to compare: expected one of {', '.join(known)}")
    found = identify(data, edge, tuple(name for name in panel.blocks if name != edge.cause))
    selection = select(data, shared)
    out = []
    with one_thread():
        for contrast, arm in contrasts:
            working = effect_on_rows(data, shared, selection, edge, arm, found)
            where, effect = working.shared, working.effect
            ways = clusters_of(data, where.panel)
            lost = lost_columns(where, contrast, found)
            pieces = Pieces(contrast, effect, where, ways, lost, _UNSURE)
            if isinstance(effect, InstrumentEffect | FrontDoorEffect):
                out.append(replace(pieces, blocked=say(data.config.study.language, "no modifier")))
            elif effect.blocked:
                said = say(data.config.study.language, effect.blocked, path=found.open_path, name=edge.cause)
                out.append(replace(pieces, blocked=said))
            else:
                out.append(replace(pieces, told=pieces.sure(effect)))
    return out


def modifiers_of(data: StudyData, edge: Edge, panel: Panel) -> list[str]:
    """Return the user attributes that an effect may vary along, in the study's order.

    Attributes of users only: they are the same in all rows of a user, and known of a new one. Not the cause itself, nor
    what the study's graph says follows from it. Attributes of items and of the context are tested by edges with a
    modifier instead.
    """
    possible = possible_modifiers(edge.cause, edge.effect, data)
    return [a.name for a in possible if a.table == "users" and a.name in panel.blocks]


def modifier_rows(pieces: Pieces, names: Sequence[str]) -> list[ModifierRow]:
    """Estimate how the effect differs along each attribute alone, as the judge would for an edge with that modifier."""
    found = []
    for name in names:
        for arm in arms(pieces.panel, name):
            effect = modified(pieces.effect, arm.values, numeric=arm.numeric)
            label = with_modifier(pieces.contrast, name, arm).label
            told = _UNSURE if effect.blocked else pieces.sure(effect)
            found.append((name, arm.level, arm.against, effect.estimate, told, label))
    adjusted = benjamini_hochberg(np.array([told.p for *_, told, _ in found], np.float64))
    return [
        ModifierRow(name, level, against, estimate, told.se, told.low, told.high, told.p, float(q), label)
        for (name, level, against, estimate, told, label), q in zip(found, adjusted, strict=True)
    ]
