"""What stands beside an effect: its standard error and interval, the naive contrast, the gates, the warnings."""

from __future__ import annotations

import numpy as np

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Contrast, Edge
from whyrank.estimators import gates
from whyrank.estimators.audit import audit
from whyrank.estimators.clusters import effective_clusters, t_interval, two_way_se
from whyrank.estimators.contrasts import Arm
from whyrank.estimators.effects import Effect, modified, naive_levels, naive_numeric
from whyrank.estimators.estimate import Check, Estimate
from whyrank.estimators.identify import Identification
from whyrank.estimators.panel import Codes, Floats, Panel
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.words import Language, say

__all__ = ["gather", "nothing_to_compare", "standard_error"]


def gather(
    data: StudyData,
    shared: SharedNuisances,
    contrast: Contrast,
    effect: Effect,
    found: Identification,
    arm: Arm,
    *,
    modifier: Arm | None = None,
    all_rows: float | None = None,
) -> Estimate:
    """Put everything that a verdict needs beside an effect.

    Parameters
    ----------
    data, shared : the study, and the rows the effect was estimated on.
    contrast : what is compared, its modifier included.
    effect : the effect of the cause alone.
    found : its identification.
    arm, modifier : the levels compared, of the cause and of the modifier.
    all_rows : if the rows are a randomised slice, the effect on all rows (NaN if it can't be identified there).
    """
    panel, language = shared.panel, data.config.study.language
    base, naive = effect, _naive(panel, arm)
    if modifier is not None:
        effect = modified(effect, modifier.values, numeric=modifier.numeric)
        naive = modified(naive, modifier.values, numeric=modifier.numeric)
    warnings = _warnings(data, panel, found, language)
    if all_rows is not None:
        slice_of = "slice" if np.isfinite(all_rows) else "slice alone"
        warnings = (*warnings, say(language, slice_of, rows=panel.n, other=all_rows))
    if effect.blocked:
        why = say(language, effect.blocked, path=found.open_path, name=contrast.edge.cause)
        return _blocked(data, panel, contrast, why, effect.overlap, found.adjust, warnings)
    ways = _ways(data, panel)
    se = standard_error(data, panel, effect)
    rest = effect.y_residual - np.nan_to_num(base.estimate) * effect.t_residual
    worth = [effective_clusters(effect.leverage, rest, codes) for codes in ways.values()]
    dof = max(min(worth or [effect.ess]) - 1.0, 1.0)
    low, high, p = t_interval(effect.estimate, se, dof)
    naive_se = float("nan") if naive.blocked else standard_error(data, panel, naive)
    checks: tuple[Check, ...] = ()
    if np.isfinite(p):
        checks = _gates(shared, contrast, base, effect, found, se, ways, modifier, language)
        v = data.config.validation
        if v.audit and modifier is None and p <= v.fdr and all(check.passed is not False for check in checks):
            checks = (*checks, _audit(shared, contrast, arm, effect, found, se, language))
    drawn = panel.randomised is not None and bool(panel.randomised.all())
    return Estimate(
        contrast=contrast,
        grain=panel.grain,
        population="randomised rows" if drawn else effect.population,
        scale=panel.scale,
        scope=data.config.validation.scope,
        estimate=effect.estimate,
        se=se,
        ci_low=low,
        ci_high=high,
        naive=naive.estimate,
        naive_significant=_differs(naive, naive_se, ways),
        p_value=p,
        dof=dof,
        n=panel.n,
        n_users=_distinct(panel.user),
        n_items=_distinct(panel.item),
        ess=effect.ess,
        clusters=", ".join(ways) or "rows",
        overlap=effect.overlap,
        robustness_value=gates.robustness_value(effect) if modifier is None else float("nan"),
        adjusted_for=(*found.adjust, *shared.identities(contrast.edge.cause)),
        estimator=effect.estimator,
        smaller_arm=_smaller_arm(panel, contrast.edge, arm, modifier),
        warnings=warnings,
        checks=checks,
    )


def nothing_to_compare(data: StudyData, panel: Panel, edge: Edge, name: str) -> Estimate:
    """Return the estimate of an edge of which `name`, an end or the modifier, has nothing to compare in the panel."""
    why = say(data.config.study.language, "all rare" if name in panel.blocks else "constant", name=name)
    return _blocked(data, panel, Contrast(edge), why, 0.0, (), panel.warnings)


def _differs(naive: Effect, se: float, ways: dict[str, Codes]) -> bool:
    """Whether an unadjusted contrast differs from zero at 5 %, with its own effective clusters."""
    worth = [effective_clusters(naive.leverage, naive.influence, codes) for codes in ways.values()]
    return bool(t_interval(naive.estimate, se, max(min(worth or [naive.ess]) - 1.0, 1.0))[2] < 0.05)


def standard_error(data: StudyData, panel: Panel, effect: Effect) -> float:
    """Return the standard error of an effect with the clusters that the study's scope asks for."""
    ways = _ways(data, panel)
    return two_way_se(effect.influence, tuple(ways.values()), panel.pair if len(ways) == 2 else None)


def _ways(data: StudyData, panel: Panel) -> dict[str, Codes]:
    """Return the clusters that the standard errors use."""
    ways: dict[str, Codes] = {}
    if panel.user is not None and data.config.users.unit == "user":
        ways["users"] = panel.user
    if panel.item is not None and data.config.validation.scope == "items like these":
        ways["items"] = panel.item
    return ways


def _warnings(data: StudyData, panel: Panel, found: Identification, language: Language) -> tuple[str, ...]:
    said = list(panel.warnings)
    if found.excluded:
        said.append(say(language, "descendants", names=", ".join(found.excluded)))
    if data.config.validation.scope == "these items":
        said.append(say(language, "these items"))
    if data.config.events.propensity and panel.grain == "exposure":
        said.append(say(language, f"{data.config.events.propensity_kind} propensity"))
    return tuple(said)


def _gates(
    shared: SharedNuisances,
    contrast: Contrast,
    base: Effect,
    effect: Effect,
    found: Identification,
    se: float,
    ways: dict[str, Codes],
    modifier: Arm | None,
    language: Language,
) -> tuple[Check, ...]:
    panel, cause = shared.panel, contrast.edge.cause
    kind, codes = shared.assigned(cause)
    rng = shared.rng("gates", contrast.label)
    numeric = panel.blocks[cause].attribute.kind == "numeric"
    checks = [gates.overlap(effect, numeric=numeric, language=language)]
    if modifier is None:
        within = panel.item if kind == "rows" else None
        checks.append(gates.placebo(effect, codes, within, rng, language=language))
        checks.append(gates.random_common_cause(effect, codes, se, rng, language=language))
        adjust = shared.adjustment(found.adjust, cause, contrast.level)
        named = {name: np.intersect1d(panel.blocks[name].every, adjust) for name in (*found.adjust, cause)}
        place = {name: np.searchsorted(adjust, columns) for name, columns in named.items() if len(columns)}
        target = _as_number(panel, cause, effect)
        design = panel.design.rows(np.arange(panel.n), adjust)
        same = shared.intercepts(cause)
        checks.append(gates.sensitivity(effect, target, panel.y, design, place, same, language=language))
    else:
        _, moves = panel.cluster_of(contrast.edge.modifier or "")
        checks.append(
            gates.modifier_placebo(
                base, effect, modifier.values, moves, rng, numeric=modifier.numeric, language=language
            )
        )
    checks.append(gates.subset(effect, codes, rng, language=language))
    checks.append(gates.leave_one_out(effect, ways, language=language))
    return tuple(checks)


def _audit(
    shared: SharedNuisances,
    contrast: Contrast,
    arm: Arm,
    effect: Effect,
    found: Identification,
    se: float,
    language: Language,
) -> Check:
    return audit(
        effect,
        np.nan_to_num(arm.values),
        shared.panel.y,
        shared.panel.design.rows(
            np.arange(shared.panel.n), shared.adjustment(found.adjust, contrast.edge.cause, contrast.level)
        ),
        shared.intercepts(contrast.edge.cause),
        se=se,
        discrete=not arm.numeric,
        rng=shared.rng("audit", contrast.label),
        language=language,
    )


def _as_number(panel: Panel, cause: str, effect: Effect) -> Floats:
    """Return the cause as one number per row, as the sensitivity benchmark regresses it."""
    if panel.blocks[cause].attribute.kind == "numeric":
        return np.nan_to_num(panel.values(cause))
    return (effect.t_residual > 0).astype(np.float64)


def _naive(panel: Panel, arm: Arm) -> Effect:
    return naive_numeric(panel.y, arm.values) if arm.numeric else naive_levels(panel.y, arm.rows, arm.reference)


def _distinct(codes: Codes | None) -> int:
    return 0 if codes is None else len(np.unique(codes))


def _smaller_arm(panel: Panel, edge: Edge, arm: Arm, modifier: Arm | None) -> int:
    """Count the clusters in the smaller arm of the cause and, if there is one, of the modifier."""
    counts = [_carriers(panel, edge.cause, arm)]
    if modifier is not None and edge.modifier:
        counts.append(_carriers(panel, edge.modifier, modifier))
    return min(counts)


def _carriers(panel: Panel, name: str, arm: Arm) -> int:
    kind, codes = panel.cluster_of(name)
    ways = [codes] if kind != "rows" else [c for c in (panel.user, panel.item) if c is not None] or [codes]
    sides = (arm.rows,) if arm.numeric else (arm.rows, arm.reference)
    return min(len(np.unique(way[rows])) for way in ways for rows in sides)


def _blocked(
    data: StudyData,
    panel: Panel,
    contrast: Contrast,
    why: str,
    overlap: float,
    adjusted_for: tuple[str, ...],
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
        adjusted_for=adjusted_for,
        estimator="none",
        smaller_arm=0,
        blocked=why,
        warnings=warnings,
    )
