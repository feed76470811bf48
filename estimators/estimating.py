"""From edges to estimates: identification, then effects on nuisances that all edges of a panel share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Contrast, Edge
from whyrank.estimators.choosing import estimate_choices
from whyrank.estimators.combination import never_together
from whyrank.estimators.contrasts import Arm, arms, base_contrasts, with_modifier
from whyrank.estimators.design import Columns, Floats
from whyrank.estimators.effects import Effect, aipw, blocked_effect, partialling_out
from whyrank.estimators.estimate import Estimate
from whyrank.estimators.evidence import gather, nothing_to_compare, standard_error
from whyrank.estimators.identify import Identification, identify
from whyrank.estimators.panel import Panel, build_panel, grain_of
from whyrank.estimators.shared import SharedNuisances

__all__ = ["estimate_edges"]

_SLICE_SHARE = 2.0
"""A randomised slice is preferred when its standard error is at most this many times that of all rows."""

_CONTRADICTION = 3.0
"""A slice is preferred, however imprecise, when it is this many joint standard errors away from all rows."""

_MIN_SLICE = 200
"""Rows below which a randomised slice isn't tried."""


def estimate_edges(
    data: StudyData, edges: Iterable[Edge], *, progress: Callable[[Edge], None] | None = None
) -> Iterator[tuple[Edge, list[Estimate]]]:
    """Estimate edges, those that share nuisances next to each other; yields each edge with its contrasts.

    The numbers of an edge depend on the data and the study's seed alone, not on the other edges.

    Parameters
    ----------
    data : the study.
    edges : what to estimate; the same edge twice counts once.
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
    known: tuple[tuple[str, str], SharedNuisances] | None = None
    for group in _by_cause(wanted):
        place = grain_of(group[0]), group[0].effect
        if known is None or known[0] != place:
            known = place, SharedNuisances(build_panel(data, group[0].effect, place[0]), data.config.study.seed)
        yield from _estimate_cause(data, known[1], group, progress)


def _by_cause(edges: Sequence[Edge]) -> Iterator[list[Edge]]:
    group: list[Edge] = []
    for edge in edges:
        if group and (edge.cause, edge.effect) != (group[0].cause, group[0].effect):
            yield group
            group = []
        group.append(edge)
    if group:
        yield group


def _estimate_cause(
    data: StudyData, shared: SharedNuisances, edges: Sequence[Edge], progress: Callable[[Edge], None] | None
) -> Iterator[tuple[Edge, list[Estimate]]]:
    """Estimate all edges of one cause on one outcome: the cause's effect is computed once for all its modifiers."""
    panel, plain = shared.panel, Edge(edges[0].cause, edges[0].effect)
    varies = panel.n > 0 and bool(np.any(panel.y != panel.y[0]))
    if not varies or not _compares(panel, plain.cause):
        for edge in edges:
            yield edge, [nothing_to_compare(data, panel, edge, plain.cause if varies else plain.effect)]
        return
    found = identify(data, plain, tuple(name for name in panel.blocks if name != plain.cause))
    with threadpool_limits(limits=1):
        shown: dict[Edge, list[Estimate]] = {edge: [] for edge in edges}
        for contrast, arm in base_contrasts(panel, plain):  # one level at a time: each holds five numbers a row
            working = _effect(data, shared, plain, arm, found)
            for edge in edges:
                if progress and not shown[edge]:
                    progress(edge)
                shown[edge].extend(_gathered(data, panel, edge, contrast, found, *working))
    yield from shown.items()


def _gathered(
    data: StudyData,
    panel: Panel,
    edge: Edge,
    contrast: Contrast,
    found: Identification,
    effect: Effect,
    where: SharedNuisances,
    arm: Arm,
    everywhere: float | None,
) -> Iterator[Estimate]:
    """Put the evidence beside one level's effect, by levels of the edge's modifier if it has one."""
    if edge.modifier is None:
        yield gather(data, where, contrast, effect, found, arm, all_rows=everywhere)
    elif not _compares(panel, edge.modifier):
        yield nothing_to_compare(data, panel, edge, edge.modifier)
    else:
        for m in arms(where.panel, edge.modifier):
            named = with_modifier(contrast, edge.modifier, m)
            yield gather(data, where, named, effect, found, arm, modifier=m, all_rows=everywhere)


def _compares(panel: Panel, name: str) -> bool:
    """Whether an attribute has anything to compare in the panel: it varies, and some level isn't rare."""
    return name in panel.blocks and bool(arms(panel, name))


def _effect(
    data: StudyData, shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification
) -> tuple[Effect, SharedNuisances, Arm, float | None]:
    """Return one arm's effect, the rows it was estimated on, the arm there, and, if a slice, the effect on all rows.

    A slice of exposures whose item was drawn at random closes every path into an attribute of the item, so it rescues
    what the columns can't identify; where both will do, it is preferred when it alone is precise enough, or when it
    contradicts all rows.
    """
    panel, drawn = shared.panel, shared.panel.randomised
    open_path = blocked_effect(panel.n, "none", 0.0, "open path")
    everything = open_path if found.open_path else _on(shared, edge, arm, found)
    if drawn is None or not edge.cause.startswith("items.") or drawn.sum() < _MIN_SLICE:
        return everything, shared, arm, None
    if drawn.all():
        return (_on(shared, edge, arm, found) if found.open_path else everything), shared, arm, None
    part = shared.drawn
    arm_there = next(a for a in arms(part.panel, edge.cause) if a.level == arm.level)
    on_slice = _on(part, edge, arm_there, found)
    if on_slice.blocked:
        return everything, shared, arm, None
    if everything.blocked:
        return on_slice, part, arm_there, float("nan")
    slice_se, se = standard_error(data, part.panel, on_slice), standard_error(data, panel, everything)
    contradicts = abs(on_slice.estimate - everything.estimate) > _CONTRADICTION * float(np.hypot(slice_se, se))
    if slice_se <= _SLICE_SHARE * se or contradicts:
        return on_slice, part, arm_there, everything.estimate
    return everything, shared, arm, None


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
        return partialling_out(np.where(known, panel.y - y_hat, 0.0), t_residual, spread**2 * float(known.mean()))
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
    return replace(aipw(panel.y, arm.rows, arm.reference, e_arm, e_ref, mu_arm, mu_ref), apart=apart)


def _propensity(shared: SharedNuisances, cause: str, rows: npt.NDArray[np.bool_], adjust: Columns, name: str) -> Floats:
    return shared.treatment(cause, rows.astype(np.float64), adjust, probability=True, name=name).fitted


def _column(panel: Panel, cause: str, arm: Arm) -> int:
    """Return the design column that is 1 at the level."""
    block = panel.blocks[cause]
    return int(block.columns[block.levels.index("" if block.attribute.kind == "binary" else arm.level)])
