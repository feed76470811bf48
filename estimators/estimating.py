"""From edges to estimates: identification, then effects on nuisances that all edges of a panel share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Contrast, Edge
from whyrank.estimators.bootstrap import Inference
from whyrank.estimators.choosing import estimate_choices
from whyrank.estimators.combination import never_together
from whyrank.estimators.contrasts import Arm, arms, base_contrasts, with_modifier
from whyrank.estimators.controls import Controls
from whyrank.estimators.design import Columns, Floats
from whyrank.estimators.effects import Effect, aipw, blocked_effect, partialling_out
from whyrank.estimators.estimate import Check, Estimate
from whyrank.estimators.evidence import clusters_of, gather, inference, nothing_to_compare, standard_error
from whyrank.estimators.folded import one_thread
from whyrank.estimators.identify import Identification, identify
from whyrank.estimators.panel import Panel, build_panel, grain_of
from whyrank.estimators.selection import Selection, select
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.strategies import by_instruments, by_mediators
from whyrank.estimators.together import Evidence, look_together
from whyrank.estimators.words import say

__all__ = ["Working", "effect_on_rows", "estimate_edges"]

_SLICE_SHARE = 2.0
"""A randomised slice is preferred when its standard error is at most this many times that of all rows."""

_CONTRADICTION = 3.0
"""A slice is preferred, however imprecise, when it is this many joint standard errors away from all rows."""

_MIN_SLICE = 200
"""Rows below which a randomised slice isn't tried."""


def estimate_edges(
    data: StudyData,
    edges: Iterable[Edge],
    *,
    instruments: Mapping[Edge, Sequence[str]] | None = None,
    progress: Callable[[Edge], None] | None = None,
) -> Iterator[tuple[Edge, list[Estimate]]]:
    """Estimate edges, those that share nuisances next to each other; yields each edge with its contrasts.

    The numbers of an edge depend on the data and the study's seed alone, not on the other edges.

    Parameters
    ----------
    data : the study.
    edges : what to estimate; the same edge twice counts once.
    instruments : attributes that proposers take for instruments of an edge (without its modifier). They are turned to
        where nothing else identifies the effect, and an effect from them is at best inconclusive.
    progress : called with each edge before it is estimated.

    Raises
    ------
    InputError
        If an edge names something that the study doesn't have.
    """
    wanted = sorted(set(edges), key=lambda e: (grain_of(e), e.effect, e.cause.split(".", 1)[0], e.cause, str(e)))
    for edge in wanted:
        for name in filter(None, (edge.cause, edge.modifier)):
            data.attribute(name)
    if data.config.events.kind == "purchases":
        chosen = [edge for edge in wanted if grain_of(edge) == "exposure"]
        yield from estimate_choices(data, chosen, progress=progress)
        wanted = [edge for edge in wanted if grain_of(edge) != "exposure"]
    controls = Controls(data, lambda *given: _control(data, *given))
    known: tuple[tuple[str, str], SharedNuisances, Selection | None] | None = None
    for group in _by_cause(wanted):
        place = grain_of(group[0]), group[0].effect
        if known is None or known[0] != place:
            shared = SharedNuisances(build_panel(data, group[0].effect, place[0]), data.config.study.seed)
            known = place, shared, select(data, shared)
        suggested = (instruments or {}).get(Edge(group[0].cause, group[0].effect), ())
        yield from _estimate_cause(data, known[1], known[2], controls, group, suggested, progress)


def _by_cause(edges: Sequence[Edge]) -> Iterator[list[Edge]]:
    group: list[Edge] = []
    for edge in edges:
        if group and (edge.cause, edge.effect) != (group[0].cause, group[0].effect):
            yield group
            group = []
        group.append(edge)
    if group:
        yield group


@dataclass(frozen=True)
class Working:
    """One arm's effect, the rows it was estimated on, the arm there, and what is to be said of other rows.

    `all_rows`, `slice_check`, `controls` and `note` are as in `gather`; `found` is the identification on those rows,
    if it isn't that on all rows.
    """

    effect: Effect
    shared: SharedNuisances
    arm: Arm
    all_rows: float | None = None
    slice_check: Check | None = None
    controls: tuple[Check, ...] = ()
    note: str = ""
    found: Identification | None = None


def _estimate_cause(
    data: StudyData,
    shared: SharedNuisances,
    selection: Selection | None,
    controls: Controls,
    edges: Sequence[Edge],
    suggested: Sequence[str],
    progress: Callable[[Edge], None] | None,
) -> Iterator[tuple[Edge, list[Estimate]]]:
    """Estimate all edges of one cause on one outcome: the cause's effect is computed once for all its modifiers."""
    panel, plain = shared.panel, Edge(edges[0].cause, edges[0].effect)
    varies = panel.n > 0 and bool(np.any(panel.y != panel.y[0]))
    if not varies or not _compares(panel, plain.cause):
        for edge in edges:
            yield edge, [nothing_to_compare(data, panel, edge, plain.cause if varies else plain.effect)]
        return
    candidates = tuple(name for name in panel.blocks if name != plain.cause)
    found = identify(data, plain, candidates, suggested=suggested)
    with one_thread():
        shown: dict[Edge, list[Evidence]] = {edge: [] for edge in edges}
        for contrast, arm in base_contrasts(panel, plain):  # one level at a time: each holds five numbers a row
            working = effect_on_rows(data, shared, selection, plain, arm, found)
            if not working.effect.blocked:
                working = replace(working, controls=controls.check(plain, arm.level))
            for edge in edges:
                if progress and not shown[edge]:
                    progress(edge)
                shown[edge].extend(_gathered(data, panel, edge, contrast, working.found or found, working))
    for edge, evidence in shown.items():
        yield edge, look_together(evidence, shared.rng("together", str(edge)))


def _gathered(
    data: StudyData,
    panel: Panel,
    edge: Edge,
    contrast: Contrast,
    found: Identification,
    working: Working,
) -> Iterator[Evidence]:
    """Put the evidence beside one level's effect, by levels of the edge's modifier if it has one."""
    effect, where, arm, everywhere = working.effect, working.shared, working.arm, working.all_rows
    if edge.modifier is None:
        yield gather(
            data,
            where,
            contrast,
            effect,
            found,
            arm,
            all_rows=everywhere,
            slice_check=working.slice_check,
            controls=working.controls,
            note=working.note,
        )
    elif not _compares(panel, edge.modifier):
        yield Evidence(nothing_to_compare(data, panel, edge, edge.modifier), {})
    else:
        for m in arms(where.panel, edge.modifier):
            named = with_modifier(contrast, edge.modifier, m)
            yield gather(data, where, named, effect, found, arm, modifier=m, all_rows=everywhere)


def _compares(panel: Panel, name: str) -> bool:
    """Whether an attribute has anything to compare in the panel: it varies, and some level isn't rare."""
    return name in panel.blocks and bool(arms(panel, name))


def effect_on_rows(
    data: StudyData,
    shared: SharedNuisances,
    selection: Selection | None,
    edge: Edge,
    arm: Arm,
    found: Identification,
) -> Working:
    """Return one arm's effect, the rows it was estimated on, the arm there, and, if a slice, the effect on all rows.

    With logged propensities all rows are used, and how the slice agrees with them is checked.

    A slice of exposures whose item was drawn at random closes every path through who is shown what, so it rescues what
    the columns can't identify, unless the item itself brings the hidden cause along. Where both will do, it is
    preferred when it alone is precise enough, or when it contradicts all rows.
    """
    panel, drawn = shared.panel, shared.panel.randomised
    item, closed = edge.cause.startswith("items."), not found.open_path
    at_random = found if found.rescue is None else replace(found, adjust=found.rescue)
    if panel.weighting is not None and panel.weighting.design and item and (closed or found.rescuable):
        return _weighted(data, shared, edge, arm, at_random)
    sliced = drawn is not None and drawn.sum() >= _MIN_SLICE
    if selection is not None and item and closed and not sliced:
        plain, weighted = _on(shared, edge, arm, found), _on(selection.shared, edge, arm, found)
        chosen, where, other = (
            (plain, shared, weighted) if selection.power == 0 else (weighted, selection.shared, plain)
        )
        return Working(chosen, where, arm, note=selection.note(other.estimate, data.config.study.language))
    if drawn is not None and drawn.all() and item and found.rescuable:
        return Working(_on(shared, edge, arm, at_random), shared, arm, found=at_random)
    everything = _by_strategy(data, shared, edge, arm, found)
    if drawn is None or drawn.all() or not sliced or not item or not (closed or found.rescuable):
        return Working(everything, shared, arm)
    part, arm_there, on_slice = _on_slice(shared, edge, arm, at_random)
    if on_slice.blocked:
        return Working(everything, shared, arm)
    if everything.blocked or not closed:
        return Working(on_slice, part, arm_there, everything.estimate, found=at_random)
    slice_se, se = standard_error(data, part.panel, on_slice), standard_error(data, panel, everything)
    contradicts = abs(on_slice.estimate - everything.estimate) > _CONTRADICTION * float(np.hypot(slice_se, se))
    if slice_se <= _SLICE_SHARE * se or contradicts:
        return Working(on_slice, part, arm_there, everything.estimate)
    return Working(everything, shared, arm)


def _weighted(data: StudyData, shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification) -> Working:
    """Estimate one arm's effect on all rows, weighted as if items had been drawn at random; compare the slice."""
    panel, drawn = shared.panel, shared.panel.randomised
    effect = _on(shared, edge, arm, found)
    if effect.blocked or drawn is None or drawn.all() or drawn.sum() < _MIN_SLICE:
        return Working(effect, shared, arm, found=found)
    part, _, on_slice = _on_slice(shared, edge, arm, found)
    if on_slice.blocked:
        return Working(effect, shared, arm, found=found)
    joint = float(np.hypot(standard_error(data, part.panel, on_slice), standard_error(data, panel, effect)))
    apart = abs(on_slice.estimate - effect.estimate) / joint if joint > 0 else float("nan")
    said = say(data.config.study.language, "slice agrees", rows=part.panel.n, slice=on_slice.estimate, apart=apart)
    check = Check("randomised_rows", bool(apart <= _CONTRADICTION), apart, _CONTRADICTION, said)
    return Working(effect, shared, arm, slice_check=check, found=found)


def _on_slice(
    shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification
) -> tuple[SharedNuisances, Arm, Effect]:
    """Estimate one arm's effect on the rows whose item was drawn at random; the same levels are named there."""
    part = shared.drawn
    there = next(a for a in arms(part.panel, edge.cause) if a.level == arm.level)
    return part, there, _on(part, edge, there, found)


def _control(
    data: StudyData, shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification
) -> tuple[Effect, Inference]:
    """Estimate one arm's effect on an outcome that it can't affect, as any other."""
    working = effect_on_rows(data, shared, None, edge, arm, found)
    return working.effect, inference(data, working.shared, working.effect)


def _by_strategy(data: StudyData, shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification) -> Effect:
    """Estimate one arm's effect on all rows, by the strategy that identifies it there."""
    if found.strategy == "blocked":
        return blocked_effect(shared.panel.n, "none", 0.0, "open path")
    if found.strategy == "front-door":
        return by_mediators(shared, edge, arm, found)
    if found.strategy == "instrument":
        return by_instruments(shared, edge, arm, found, clusters_of(data, shared.panel))
    return _on(shared, edge, arm, found)


def _on(shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification) -> Effect:
    """Estimate one arm's effect on all rows of a panel."""
    panel, cause = shared.panel, edge.cause
    adjust = shared.adjustment(found.adjust, cause, arm.level)
    if shared.determined(cause, arm.values, adjust):
        return blocked_effect(panel.n, "none", 0.0, "determined")
    if arm.numeric:
        known = arm.rows
        if not known.any():
            return blocked_effect(panel.n, "partialling-out", 0.0, "constant")
        t = np.where(known, arm.values, 0.0)
        centre, spread = float(t[known].mean()), float(t[known].std())
        if not spread > 0:
            return blocked_effect(panel.n, "partialling-out", 0.0, "constant")
        z = np.where(known, (t - centre) / spread, 0.0)
        t_hat = shared.treatment(cause, z, adjust, probability=False, name="unit").fitted
        y_hat = shared.outcome(cause, adjust, with_cause=False).fitted
        t_residual = np.where(known, (z - t_hat) * spread, 0.0)
        y_residual = np.where(known, panel.y - y_hat, 0.0)
        return partialling_out(y_residual, t_residual, spread**2 * float(known.mean()), shared.weights(cause))
    if not (arm.rows.any() and arm.reference.any()):
        return blocked_effect(panel.n, "AIPW", 0.0, "no overlap")
    own = np.setdiff1d(panel.blocks[cause].columns, adjust)
    columns = np.unique(np.concatenate([adjust, own, shared.alike(found.adjust, cause)]))
    outcome = shared.outcome(cause, columns)
    at_ref = np.zeros(len(own), np.float32)
    at_arm = (own == _column(panel, cause, arm)).astype(np.float32)
    mu_arm, mu_ref = outcome.at(own, at_arm), outcome.at(own, at_ref)
    e_arm = _propensity(shared, cause, arm.rows, adjust, f"arm {arm.level}")
    if bool(np.all(arm.rows | arm.reference)):
        e_ref = 1.0 - e_arm
    else:
        e_ref = _propensity(shared, cause, arm.reference, adjust, f"reference {arm.against}")
        total = np.maximum(e_arm + e_ref, 1.0)
        e_arm, e_ref = e_arm / total, e_ref / total
    reach, apart = never_together(panel, cause, arm, found.adjust)
    e_arm, e_ref = np.where(reach, e_arm, 0.0), np.where(reach, e_ref, 0.0)
    weight = shared.weights(cause)
    return replace(aipw(panel.y, arm.rows, arm.reference, e_arm, e_ref, mu_arm, mu_ref, weight), apart=apart)


def _propensity(shared: SharedNuisances, cause: str, rows: npt.NDArray[np.bool_], adjust: Columns, name: str) -> Floats:
    return shared.treatment(cause, rows.astype(np.float64), adjust, probability=True, name=name).fitted


def _column(panel: Panel, cause: str, arm: Arm) -> int:
    """Return the design column that is 1 at the level."""
    block = panel.blocks[cause]
    return int(block.columns[block.levels.index("" if block.attribute.kind == "binary" else arm.level)])
