"""What stands beside an effect: its standard error and interval, the naive contrast, the gates, the warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Contrast, Edge
from whyrank.estimators.bootstrap import Inference, infer, random_signs, two_sided
from whyrank.estimators.combination import Apart
from whyrank.estimators.contrasts import Arm, arms
from whyrank.estimators.effects import Effect, blocked_effect, modified, naive_levels, naive_numeric
from whyrank.estimators.estimate import Check, Estimate, blocked_estimate
from whyrank.estimators.front_door import FrontDoorEffect
from whyrank.estimators.identify import Identification
from whyrank.estimators.instrument import InstrumentEffect
from whyrank.estimators.panel import Codes, Columns, Panel
from whyrank.estimators.sensitivity import robustness_value
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.strategies import assigned_by, strategy_notes, why_open
from whyrank.estimators.strategy_trials import try_instruments, try_mediators
from whyrank.estimators.sums import Sums, clustered_error, sums_of, variance_parts
from whyrank.estimators.together import Evidence
from whyrank.estimators.trials import try_audit, try_gates
from whyrank.estimators.words import Language, say

__all__ = ["clusters_of", "gather", "inference", "lost_columns", "nothing_to_compare", "standard_error"]


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
    slice_check: Check | None = None,
    controls: tuple[Check, ...] = (),
    note: str = "",
) -> Evidence:
    """Put everything that a verdict needs beside an effect.

    Parameters
    ----------
    data, shared : the study, and the rows the effect was estimated on.
    contrast : what is compared, its modifier included.
    effect : the effect of the cause alone.
    found : its identification.
    arm, modifier : the levels compared, of the cause and of the modifier.
    all_rows : if the rows are a randomised slice, the effect on all rows (NaN if it can't be identified there).
    slice_check : if all rows are weighted by logged propensities, how a randomised slice agrees with them.
    controls : its effects on outcomes that the cause can't affect.
    note : one more warning.
    """
    panel, language = shared.panel, data.config.study.language
    base, naive = effect, _naive(panel, arm)
    drawn = panel.randomised is not None and bool(panel.randomised.all())
    weighted = panel.weighting is not None and panel.weighting.design
    if modifier is not None and isinstance(effect, InstrumentEffect | FrontDoorEffect):
        effect = blocked_effect(panel.n, effect.estimator, effect.overlap, "no modifier")
    elif modifier is not None:
        effect = modified(effect, modifier.values, numeric=modifier.numeric)
        naive = modified(naive, modifier.values, numeric=modifier.numeric)
    warnings = _warnings(data, panel, contrast.edge.cause, found, language)
    warnings = (*warnings, *strategy_notes(effect, found, language, drawn=drawn or weighted))
    if note:
        warnings = (*warnings, note)
    apart = _apart(contrast.edge.cause, base.apart, language)
    if all_rows is not None:
        slice_of = "slice" if np.isfinite(all_rows) else "slice alone"
        warnings = (*warnings, say(language, slice_of, rows=panel.n, other=all_rows))
    if effect.blocked:
        why = say(language, effect.blocked, path=found.open_path, name=contrast.edge.cause)
        if effect.blocked == "open path":
            why = why_open(found, language, drawn=panel.randomised is not None or weighted)
        why = say(language, "namely", what=why, which=apart) if apart else why
        return Evidence(_blocked(data, panel, contrast, why, effect.overlap, found.adjust, warnings), {})
    ways = clusters_of(data, panel)
    assigned = assigned_by(effect, found, contrast.edge.cause)
    kind, codes = shared.assigned(assigned)
    lost = lost_columns(shared, contrast, found, assigned)
    sums = sums_of(effect, ways | ({kind: codes} if kind != "rows" or not ways else {}), lost)
    errors = {way: sums[way] for way in ways}
    se = clustered_error(effect, errors, panel.pair if len(ways) == 2 else None)
    signs = random_signs(shared.seed)
    told = infer(effect.estimate, se, errors, rows=effect.ess, signs=signs)
    reduced = inference(data, shared, effect.reduced) if isinstance(effect, InstrumentEffect) else told
    told = replace(told, p=float(np.fmax(told.p, reduced.p)))
    naive_se = float("nan") if naive.blocked else standard_error(data, panel, naive)
    checks: tuple[Check, ...] = ()
    if np.isfinite(told.p):
        if isinstance(effect, InstrumentEffect):
            checks = try_instruments(shared, contrast, effect, found, told, reduced, sums, language)
        elif isinstance(effect, FrontDoorEffect):
            checks = try_mediators(shared, contrast, effect, found, told, sums, language)
        else:
            checks = try_gates(shared, contrast, base, effect, found, told, sums, modifier, language)
        if apart:
            named = [
                replace(c, detail=say(language, "namely", what=c.detail, which=apart)) if c.name == "overlap" else c
                for c in checks
            ]
            checks, warnings = tuple(named), (*warnings, apart)
        if slice_check is not None:
            checks = (*checks, slice_check)
        checks = (*checks, *controls)
        v = data.config.validation
        own = not isinstance(effect, InstrumentEffect | FrontDoorEffect)
        passed = all(check.passed is not False for check in checks)
        if v.audit and own and modifier is None and told.p <= v.fdr and passed:
            checks = (*checks, try_audit(shared, contrast, arm, effect, found, se, language))
    estimate = Estimate(
        contrast=contrast,
        grain=panel.grain,
        population="randomised rows" if drawn else effect.population,
        scale=panel.scale,
        scope=data.config.validation.scope,
        estimate=effect.estimate,
        se=se,
        ci_low=told.low,
        ci_high=told.high,
        naive=naive.estimate,
        naive_significant=bool(two_sided(naive.estimate / naive_se, told.dof) < 0.05) if naive_se > 0 else False,
        p_value=told.p,
        dof=told.dof,
        n=panel.n,
        n_users=_distinct(panel.user),
        n_items=_distinct(panel.item),
        ess=effect.ess,
        clusters=", ".join(ways) or "rows",
        overlap=effect.overlap,
        robustness_value=_robustness(effect) if modifier is None else float("nan"),
        adjusted_for=(*found.adjust, *shared.identities(assigned)),
        estimator=effect.estimator,
        smaller_arm=_smaller_arm(
            panel, contrast.edge, arm, modifier, effect, found, data.config.validation.scope == "items like these"
        ),
        warnings=warnings,
        checks=checks,
        inference=told.method,
        variance=variance_parts(effect, errors, se),
    )
    return Evidence(estimate, errors)


def nothing_to_compare(data: StudyData, panel: Panel, edge: Edge, name: str) -> Estimate:
    """Return the estimate of an edge of which `name`, an end or the modifier, has nothing to compare in the panel."""
    why = say(data.config.study.language, "all rare" if name in panel.blocks else "constant", name=name)
    return _blocked(data, panel, Contrast(edge), why, 0.0, (), panel.warnings)


def _apart(cause: str, apart: Sequence[Apart], language: Language) -> str:
    """Name levels that never occur together, the first few of them."""
    said: dict[tuple[str, str], list[str]] = {}
    for one in apart:
        said.setdefault((one.level, one.name), []).append(one.other)
    shown = [
        say(language, "never together", cause=cause, level=level, name=name, others=", ".join(others))
        for (level, name), others in list(said.items())[:3]
    ]
    return ", ".join(shown)


def inference(data: StudyData, shared: SharedNuisances, effect: Effect) -> Inference:
    """Return how sure an effect is, with the clusters that the study's scope asks for."""
    sums, se = _sums_and_error(data, shared.panel, effect)
    return infer(effect.estimate, se, sums, rows=effect.ess, signs=random_signs(shared.seed))


def standard_error(data: StudyData, panel: Panel, effect: Effect) -> float:
    """Return the standard error of an effect with the clusters that the study's scope asks for."""
    return _sums_and_error(data, panel, effect)[1]


def _sums_and_error(data: StudyData, panel: Panel, effect: Effect) -> tuple[dict[str, Sums], float]:
    ways = clusters_of(data, panel)
    sums = sums_of(effect, ways)
    return sums, clustered_error(effect, sums, panel.pair if len(ways) == 2 else None)


def clusters_of(data: StudyData, panel: Panel) -> dict[str, Codes]:
    """Return the clusters that the standard errors use."""
    ways: dict[str, Codes] = {}
    if panel.user is not None and data.config.users.unit == "user":
        ways["users"] = panel.user
    if panel.item is not None and data.config.validation.scope == "items like these":
        ways["items"] = panel.item
    return ways


def _warnings(data: StudyData, panel: Panel, cause: str, found: Identification, language: Language) -> tuple[str, ...]:
    said = list(panel.warnings)
    if found.excluded:
        said.append(say(language, "descendants", names=", ".join(found.excluded)))
    if data.config.validation.scope == "these items":
        said.append(say(language, "these items"))
    if data.config.events.propensity and panel.grain == "exposure":
        said.extend(_about_propensities(data, panel, cause, found, language))
    return tuple(said)


def _about_propensities(
    data: StudyData, panel: Panel, cause: str, found: Identification, language: Language
) -> list[str]:
    """Say what was made of the propensities."""
    weighting = panel.weighting
    if data.config.events.propensity_kind == "estimated":
        return [] if cause.startswith("items.") else [say(language, "estimated propensity")]
    if not cause.startswith("items."):
        return [say(language, "propensity of items", name=cause)]
    if weighting is None:  # the randomised slice
        return []
    said = [say(language, "logged propensity", ess=weighting.ess, share=weighting.ess / panel.n)]
    if weighting.clipped:
        said.append(say(language, "clipped", count=weighting.clipped, cap=weighting.cap, lost=weighting.lost))
    if weighting.doubtful:
        said.append(say(language, "weights off", total=1.0 / weighting.mean))
    if found.open_path:
        said.append(say(language, "closed by weights", path=found.open_path))
    return said


def _robustness(effect: Effect) -> float:
    """Return the robustness value of what must hold: of the weaker of two legs, of the instruments on the outcome."""
    if isinstance(effect, InstrumentEffect):
        return robustness_value(effect.reduced)
    if isinstance(effect, FrontDoorEffect):
        return min(robustness_value(leg) for leg in effect.legs)
    return robustness_value(effect)


def _naive(panel: Panel, arm: Arm) -> Effect:
    return naive_numeric(panel.y, arm.values) if arm.numeric else naive_levels(panel.y, arm.rows, arm.reference)


def lost_columns(
    shared: SharedNuisances, contrast: Contrast, found: Identification, assigned: str = ""
) -> dict[str, int]:
    """Return how many columns adjusted for vary as the cause (or the instrument) does, by the clusters it varies in."""
    name = assigned or contrast.edge.cause
    kind, _ = shared.assigned(name)
    adjust = shared.adjustment(found.adjust, name, contrast.level if name == contrast.edge.cause else "")
    return {kind: _columns_of(shared.panel, kind, adjust)}


def _columns_of(panel: Panel, table: str, adjust: Columns) -> int:
    """Count the columns adjusted for that are attributes of a table."""
    own = [block.every for name, block in panel.blocks.items() if name.startswith(f"{table}.")]
    return len(np.intersect1d(np.concatenate(own), adjust)) if own else 0


def _distinct(codes: Codes | None) -> int:
    return 0 if codes is None else len(np.unique(codes))


def _smaller_arm(
    panel: Panel,
    edge: Edge,
    arm: Arm,
    modifier: Arm | None,
    effect: Effect,
    found: Identification,
    any_items: bool,
) -> int:
    """Count the clusters in the smaller arm of the cause and, if there is one, of the modifier or the instrument.

    If nothing is claimed of items beyond those in the log (`any_items` false), users are counted.
    """
    counts = [_carriers(panel, edge.cause, arm, any_items)]
    if modifier is not None and edge.modifier:
        counts.append(_carriers(panel, edge.modifier, modifier, any_items))
    if isinstance(effect, InstrumentEffect):
        of = [(name, a) for name in found.instruments if name in panel.blocks for a in arms(panel, name)]
        counts.append(max((_carriers(panel, name, a, any_items) for name, a in of), default=0))
    return min(counts)


def _carriers(panel: Panel, name: str, arm: Arm, any_items: bool) -> int:
    kind, codes = panel.cluster_of(name)
    if panel.user is not None and not any_items:
        ways = [panel.user]
    else:
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
    return blocked_estimate(
        contrast,
        why,
        grain=panel.grain,
        scale=panel.scale,
        scope=data.config.validation.scope,
        n=panel.n,
        n_users=_distinct(panel.user),
        n_items=_distinct(panel.item),
        clusters=", ".join(clusters_of(data, panel)) or "rows",
        overlap=overlap,
        adjusted_for=adjusted_for,
        warnings=warnings,
    )
