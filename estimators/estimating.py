"""From edges to estimates: identification, effects on shared nuisances, standard errors and gates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Contrast, Edge
from whyrank.errors import InputError
from whyrank.estimators import gates
from whyrank.estimators.audit import audit
from whyrank.estimators.clusters import effective_clusters, t_interval, two_way_se
from whyrank.estimators.contrasts import Arm, arms, base_contrasts, with_modifier
from whyrank.estimators.effects import (
    Effect,
    aipw,
    blocked_effect,
    modified,
    naive_levels,
    naive_numeric,
    partialling_out,
)
from whyrank.estimators.estimate import Check, Estimate
from whyrank.estimators.identify import Identification, identify
from whyrank.estimators.panel import Codes, Floats, Panel, build_panel, grain_of
from whyrank.estimators.shared import Columns, SharedNuisances

__all__ = ["estimate_edges"]

_SLICE_SHARE = 2.0
"""A randomised slice is preferred when its standard error is at most this many times that of all rows."""

_MIN_SLICE = 200


def estimate_edges(
    data: StudyData, edges: Iterable[Edge], *, progress: Callable[[Edge], None] | None = None
) -> Iterator[tuple[Edge, list[Estimate]]]:
    """Estimate edges, those that share nuisances next to each other; yields each edge with its contrasts.

    The numbers of an edge depend on the data and the study's seed alone, not on the other edges.

    Raises
    ------
    InputError
        If an edge names something that the study doesn't have, or the log's kind isn't supported.
    """
    if data.config.events.kind == "purchases":
        raise InputError("events.kind = 'purchases' can't be judged by this version: it needs rows that weren't bought")
    wanted = sorted(set(edges), key=lambda e: (grain_of(e), e.effect, e.cause.split(".", 1)[0], e.cause, str(e)))
    known: tuple[tuple[str, str], SharedNuisances] | None = None
    for cause_edges in _by_cause(wanted):
        first = cause_edges[0]
        grain = grain_of(first)
        for edge in cause_edges:
            for name in filter(None, (edge.cause, edge.modifier)):
                data.attribute(name)
        if known is None or known[0] != (grain, first.effect):
            panel = build_panel(data, first.effect, grain)
            known = (grain, first.effect), SharedNuisances(panel, data.config.study.seed)
        yield from _estimate_cause(data, known[1], cause_edges, progress)


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
    if plain.cause not in panel.blocks:
        for edge in edges:
            if progress:
                progress(edge)
            yield edge, [_constant(data, panel, edge)]
        return
    candidates = tuple(name for name in panel.blocks if name != plain.cause)
    found = identify(data, plain, candidates)
    workings = [
        (contrast, arm, *_effect(data, shared, plain, arm, found)) for contrast, arm in base_contrasts(panel, plain)
    ]
    for edge in edges:
        if progress:
            progress(edge)
        out = []
        with threadpool_limits(limits=1):
            for contrast, arm, effect, where in workings:
                if edge.modifier is None:
                    out.append(_finish(data, where, contrast, effect, found, arm, None))
                elif edge.modifier not in panel.blocks:
                    out.append(_constant(data, panel, edge))
                else:
                    out.extend(
                        _finish(data, where, with_modifier(contrast, edge.modifier, m), effect, found, arm, m)
                        for m in arms(where.panel, edge.modifier)
                    )
        yield edge, out


def _effect(
    data: StudyData, shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification
) -> tuple[Effect, SharedNuisances]:
    """Return the effect of one arm, and the rows it was estimated on: all of them, or the randomised slice."""
    panel = shared.panel
    everything = blocked_effect(panel.n, "", 0.0, found.blocked) if found.blocked else _on(shared, edge, arm, found)
    drawn = panel.randomised
    if drawn is None or not edge.cause.startswith("items.") or drawn.sum() < _MIN_SLICE or drawn.all():
        if found.blocked and found.rescuable and drawn is not None and drawn.all():
            return _on(shared, edge, arm, found), shared
        return everything, shared
    if found.blocked and not found.rescuable:
        return everything, shared
    part = SharedNuisances(panel.take(drawn), shared.seed, shared.n_folds)
    arm_there = next(a for a in arms(part.panel, edge.cause) if a.level == arm.level)
    slice_effect = _on(part, edge, arm_there, found)
    if slice_effect.blocked:
        return everything, shared
    if found.blocked or _se(data, part.panel, slice_effect) <= _SLICE_SHARE * _se(data, panel, everything):
        return slice_effect, part
    return everything, shared


def _on(shared: SharedNuisances, edge: Edge, arm: Arm, found: Identification) -> Effect:
    """Estimate one arm's effect on all rows of a panel."""
    panel, cause = shared.panel, edge.cause
    adjust = shared.columns(found.adjust)
    own = panel.blocks[cause].columns
    if arm.numeric:
        known = arm.rows
        t = np.where(known, arm.values, 0.0)
        centre, spread = float(t[known].mean()), float(t[known].std())
        z = np.where(known, (t - centre) / spread, 0.0)
        t_hat = shared.treatment(cause, z, adjust, probability=False, name="unit").fitted
        y_hat = shared.outcome(cause, adjust).fitted
        t_residual = np.where(known, (z - t_hat) * spread, 0.0)
        return partialling_out(np.where(known, panel.y - y_hat, 0.0), t_residual, spread**2 * float(known.mean()))
    columns = np.sort(np.concatenate([adjust, own]))
    outcome = shared.outcome(cause, columns)
    design = shared.design(columns)
    place = np.searchsorted(columns, own)
    at_arm, at_ref = _settings(panel, cause, arm)
    mu_arm, mu_ref = outcome.at(design, place, at_arm), outcome.at(design, place, at_ref)
    e_arm = _propensity(shared, cause, arm.rows, adjust, f"arm {arm.level}")
    if bool(np.all(arm.rows | arm.reference)):
        e_ref = 1.0 - e_arm
    else:
        e_ref = _propensity(shared, cause, arm.reference, adjust, f"reference {arm.against}")
        total = np.maximum(e_arm + e_ref, 1.0)
        e_arm, e_ref = e_arm / total, e_ref / total
    return aipw(panel.y, arm.rows, arm.reference, e_arm, e_ref, mu_arm, mu_ref)


def _propensity(shared: SharedNuisances, cause: str, rows: npt.NDArray[np.bool_], adjust: Columns, name: str) -> Floats:
    return shared.treatment(cause, rows.astype(np.float64), adjust, probability=True, name=name).fitted


def _settings(panel: Panel, cause: str, arm: Arm) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the design values of the cause's columns at the level and at the reference."""
    block = panel.blocks[cause]
    at_arm, at_ref = np.zeros(len(block.columns), np.float32), np.zeros(len(block.columns), np.float32)
    wanted = "" if block.attribute.kind == "binary" else arm.level
    at_arm[block.levels.index(wanted)] = 1.0
    return at_arm, at_ref


def _ways(data: StudyData, panel: Panel) -> dict[str, Codes]:
    """Return the clusters that the standard errors use."""
    ways: dict[str, Codes] = {}
    if panel.user is not None and data.config.users.unit == "user":
        ways["users"] = panel.user
    if panel.item is not None and data.config.validation.scope == "items like these":
        ways["items"] = panel.item
    return ways


def _se(data: StudyData, panel: Panel, effect: Effect) -> float:
    ways = _ways(data, panel)
    return two_way_se(effect.influence, tuple(ways.values()), panel.pair if len(ways) == 2 else None)


def _finish(
    data: StudyData,
    shared: SharedNuisances,
    contrast: Contrast,
    effect: Effect,
    found: Identification,
    arm: Arm,
    modifier: Arm | None,
) -> Estimate:
    """Put standard error, naive contrast and gates beside an effect."""
    panel, cause = shared.panel, contrast.edge.cause
    naive = _naive(panel, cause, arm)
    base = effect
    if modifier is not None:
        effect = modified(effect, modifier.values, numeric=modifier.numeric)
        naive = modified(naive, modifier.values, numeric=modifier.numeric)
    warnings = list(panel.warnings)
    if found.excluded:
        warnings.append(f"not adjusted for, because declared to follow from the cause: {', '.join(found.excluded)}")
    if data.config.validation.scope == "these items":
        warnings.append("speaks of the items in this log only")
    if effect.blocked:
        return _blocked(data, panel, contrast, effect.blocked, effect.overlap, found, tuple(warnings))
    ways = _ways(data, panel)
    se = _se(data, panel, effect)
    rest = effect.y_residual - np.nan_to_num(base.estimate) * effect.t_residual
    worth = [effective_clusters(effect.leverage, rest, codes) for codes in ways.values()]
    dof = max(min(worth or [effect.ess]) - 1.0, 1.0)
    low, high, p = t_interval(effect.estimate, se, dof)
    naive_se = _se(data, panel, naive) if not naive.blocked else float("nan")
    _, _, naive_p = t_interval(naive.estimate, naive_se, dof)
    slice_used = panel.randomised is not None and bool(panel.randomised.all())
    checks = _checks(shared, contrast, base, effect, found, se, ways, modifier) if np.isfinite(p) else ()
    v = data.config.validation
    if v.audit and modifier is None and p <= v.fdr and all(check.passed is not False for check in checks):
        checks = (*checks, _audit(shared, contrast, arm, effect, found, se))
    return Estimate(
        contrast=contrast,
        grain=panel.grain,
        population="randomised rows" if slice_used else effect.population,
        scale=panel.scale,
        scope=data.config.validation.scope,
        estimate=effect.estimate,
        se=se,
        ci_low=low,
        ci_high=high,
        naive=naive.estimate,
        naive_significant=bool(naive_p < 0.05),
        p_value=p,
        dof=dof,
        n=panel.n,
        n_users=_distinct(panel.user),
        n_items=_distinct(panel.item),
        ess=effect.ess,
        clusters=", ".join(ways) or "rows",
        overlap=effect.overlap,
        robustness_value=gates.robustness_value(effect) if modifier is None else float("nan"),
        adjusted_for=found.adjust,
        estimator=effect.estimator,
        smaller_arm=_smaller_arm(panel, cause, arm, modifier, contrast.edge.modifier),
        warnings=tuple(warnings),
        checks=checks,
    )


def _audit(
    shared: SharedNuisances, contrast: Contrast, arm: Arm, effect: Effect, found: Identification, se: float
) -> Check:
    cause = contrast.edge.cause
    return audit(
        effect,
        np.nan_to_num(arm.values),
        shared.panel.y,
        shared.design(shared.columns(found.adjust)),
        shared.intercepts(cause),
        se=se,
        discrete=not arm.numeric,
        rng=shared.rng("audit", contrast.label),
    )


def _checks(
    shared: SharedNuisances,
    contrast: Contrast,
    base: Effect,
    effect: Effect,
    found: Identification,
    se: float,
    ways: dict[str, Codes],
    modifier: Arm | None,
) -> tuple[Check, ...]:
    panel, cause = shared.panel, contrast.edge.cause
    kind, codes = shared.assigned(cause)
    rng = shared.rng("gates", contrast.label)
    numeric = panel.blocks[cause].attribute.kind == "numeric"
    checks = [gates.overlap(effect, numeric=numeric)]
    if modifier is None:
        checks.append(gates.placebo(effect, codes, panel.item if kind == "rows" else None, rng))
        checks.append(gates.random_common_cause(effect, codes, se, rng))
        adjust = shared.columns(found.adjust)
        place = {
            name: np.searchsorted(adjust, panel.blocks[name].columns) for name in found.adjust if name in panel.blocks
        }
        target = _as_number(panel, cause, effect)
        checks.append(gates.sensitivity(effect, target, panel.y, shared.design(adjust), place))
    else:
        _, modifier_codes = panel.cluster_of(contrast.edge.modifier or "")
        checks.append(
            gates.modifier_placebo(base, effect, modifier.values, modifier_codes, rng, numeric=modifier.numeric)
        )
    checks.append(gates.subset(effect, codes, rng))
    checks.append(gates.leave_one_out(effect, ways))
    return tuple(checks)


def _as_number(panel: Panel, cause: str, effect: Effect) -> Floats:
    """Return the cause as one number per row, as the sensitivity benchmark regresses it."""
    raw = panel.raw[cause]
    if panel.blocks[cause].attribute.kind == "numeric":
        return np.where(np.isfinite(raw), raw, 0.0)
    return (effect.t_residual > 0).astype(np.float64)


def _naive(panel: Panel, cause: str, arm: Arm) -> Effect:
    return naive_numeric(panel.y, arm.values) if arm.numeric else naive_levels(panel.y, arm.rows, arm.reference)


def _distinct(codes: Codes | None) -> int:
    return 0 if codes is None else len(np.unique(codes))


def _smaller_arm(panel: Panel, cause: str, arm: Arm, modifier: Arm | None, modifier_name: str | None) -> int:
    """Count the clusters in the smaller arm of the cause and, if there is one, of the modifier."""
    counts = [_carriers(panel, cause, arm)]
    if modifier is not None and modifier_name:
        counts.append(_carriers(panel, modifier_name, modifier))
    return min(counts)


def _carriers(panel: Panel, name: str, arm: Arm) -> int:
    kind, codes = panel.cluster_of(name)
    ways = [codes] if kind != "rows" else [c for c in (panel.user, panel.item) if c is not None] or [codes]
    sides = (arm.rows,) if arm.numeric else (arm.rows, arm.reference)
    return min(len(np.unique(way[rows])) for way in ways for rows in sides)


def _constant(data: StudyData, panel: Panel, edge: Edge) -> Estimate:
    missing = edge.modifier if edge.modifier and edge.modifier not in panel.blocks else edge.cause
    why = f"{missing} does not vary in the rows that count"
    return _blocked(data, panel, Contrast(edge), why, 0.0, Identification(()), panel.warnings)


def _blocked(
    data: StudyData,
    panel: Panel,
    contrast: Contrast,
    why: str,
    overlap: float,
    found: Identification,
    warnings: tuple[str, ...],
) -> Estimate:
    nan = float("nan")
    return Estimate(
        contrast=contrast,
        grain=panel.grain,
        population="all rows",
        scale=panel.scale,
        scope=data.config.validation.scope,
        estimate=nan,
        se=nan,
        ci_low=nan,
        ci_high=nan,
        naive=nan,
        naive_significant=False,
        p_value=nan,
        dof=nan,
        n=panel.n,
        n_users=_distinct(panel.user),
        n_items=_distinct(panel.item),
        ess=nan,
        clusters=", ".join(_ways(data, panel)) or "rows",
        overlap=overlap,
        robustness_value=nan,
        adjusted_for=found.adjust,
        estimator="none",
        smaller_arm=0,
        blocked=why,
        warnings=warnings,
    )
