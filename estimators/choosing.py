"""From edges to estimates where the log holds purchases only: effects on the log-odds of being chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Contrast, Edge
from whyrank.estimators import choice_gates, gates
from whyrank.estimators.bootstrap import Inference, infer, random_signs
from whyrank.estimators.choice import ChoiceRows, difference, fit_choice
from whyrank.estimators.choice_panel import (
    MIN_SPARE_ITEMS,
    ChoiceArm,
    ChoicePanel,
    build_choice_panel,
    choice_arms,
)
from whyrank.estimators.effects import Effect
from whyrank.estimators.encode import encode
from whyrank.estimators.estimate import Check, Estimate, blocked_estimate
from whyrank.estimators.identify import Identification, identify
from whyrank.estimators.item_worth import fit_with_worth
from whyrank.estimators.shared import named_rng
from whyrank.estimators.sums import Sums, clustered_error, sums_of, variance_parts
from whyrank.estimators.together import Evidence, look_together
from whyrank.estimators.words import say

__all__ = ["estimate_choices"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

MIN_BOUGHT = 5
"""Purchases that both levels need: log-odds of what was never bought have no end."""


def estimate_choices(
    data: StudyData, edges: Sequence[Edge], *, progress: Callable[[Edge], None] | None = None
) -> Iterator[tuple[Edge, list[Estimate]]]:
    """Estimate edges on purchases of a log that holds nothing else; yields each edge with its contrasts.

    The estimand of a contrast is the log-odds ratio of being chosen, an item at the level against one at the reference
    that is alike in the attributes adjusted for, among the items available at the time; of a numeric cause, per unit.
    """
    panel: ChoicePanel | None = None
    for edge in edges:
        if progress:
            progress(edge)
        if panel is None or panel.outcome != edge.effect:
            panel = build_choice_panel(data, edge.effect) if edge.effect in data.outcomes else None
        yield edge, look_together(_estimates(data, panel, edge), _rng(data, Contrast(edge)))


def _estimates(data: StudyData, panel: ChoicePanel | None, edge: Edge) -> list[Evidence]:
    language = data.config.study.language
    if panel is None:
        return [_blocked(data, None, Contrast(edge), say(language, "bought rows only", name=edge.effect))]
    if panel.rows.n == 0:
        return [_blocked(data, panel, Contrast(edge), say(language, "constant", name=edge.effect))]
    modifier = edge.modifier or ""
    for name, table in ((edge.cause, ("items",)), (modifier, ("items", "users", ""))):
        if name.split(".", 1)[0] not in table:
            why = "cancels" if name.startswith("users.") else "bought context"
            return [_blocked(data, panel, Contrast(edge), say(language, why, name=name))]
    for name in filter(None, (edge.cause, modifier)):
        if name.startswith("items.") and not _arms(data, panel, name):
            why = "all rare" if name in panel.encoded else "constant"
            return [_blocked(data, panel, Contrast(edge), say(language, why, name=name))]
    found = identify(data, Edge(edge.cause, edge.effect), tuple(n for n in panel.encoded if n != edge.cause))
    if found.open_path:
        why = say(language, "open path", path=found.open_path, name=edge.cause)
        return [_blocked(data, panel, Contrast(edge), why, found.adjust)]
    out = []
    for arm in _arms(data, panel, edge.cause):
        contrast = Contrast(Edge(edge.cause, edge.effect), arm.level, arm.against, bracket=arm.bracket)
        if not modifier:
            out.append(_main(data, panel, contrast, arm, found))
            continue
        moving = _user_arms(data, modifier) if modifier.startswith("users.") else _arms(data, panel, modifier)
        for moved in moving:
            named = Contrast(edge, arm.level, arm.against, moved.level, moved.against, arm.bracket, moved.bracket)
            make = _by_user if modifier.startswith("users.") else _by_item
            out.append(make(data, panel, named, arm, moved, found))
        if not moving:
            out.append(_blocked(data, panel, Contrast(edge), say(language, "constant", name=modifier), found.adjust))
    return out


def _arms(data: StudyData, panel: ChoicePanel, name: str) -> list[ChoiceArm]:
    return choice_arms(data.attributes[name], panel.encoded[name]) if name in panel.encoded else []


def _user_arms(data: StudyData, name: str) -> list[ChoiceArm]:
    attribute = data.attributes[name]
    encoded = encode(attribute, data.users[attribute.column])
    return choice_arms(attribute, encoded) if encoded.matrix.shape[1] else []


def _rng(data: StudyData, contrast: Contrast) -> np.random.Generator:
    return named_rng(data.config.study.seed, "choice", contrast.label)


def _main(data: StudyData, panel: ChoicePanel, contrast: Contrast, arm: ChoiceArm, found: Identification) -> Evidence:
    cause, language = contrast.edge.cause, data.config.study.language
    columns = panel.adjustment(cause, found.adjust)
    own = panel.places[cause]
    fitted = panel.fit if data.config.validation.scope == "these items" else panel.with_worth
    fit, alone = fitted(columns), fitted(own)
    place = int(np.searchsorted(columns, own[arm.place]))
    rare = _too_rare(panel.rows, arm)
    if rare is not None:
        why = say(language, "never bought", level=arm.level if rare else arm.against, count=MIN_BOUGHT)
        return _blocked(data, panel, contrast, why, found.adjust)
    effect, naive = fit.effect(place, arm.unit), alone.effect(arm.place, arm.unit)

    def checks(se: float, sums: dict[str, Sums], value: float) -> tuple[Check, ...]:
        rng = _rng(data, contrast)
        blocks = {name: np.searchsorted(columns, _all_columns(panel, name)) for name in found.adjust}
        same = np.setdiff1d(np.searchsorted(columns, own), [place])
        if data.attributes[cause].kind == "set" and len(same):
            blocks[cause] = same
        return (
            gates.overlap(effect, numeric=True, language=language),
            choice_gates.item_placebo(fit, place, arm.unit, rng, language=language),
            choice_gates.item_random_common_cause(fit, place, arm.unit, se, rng, language=language),
            choice_gates.omitted_block(fit, place, arm.unit, blocks, value, language=language),
            gates.subset(effect.estimate, _of_cause(sums), rng, language=language),
            gates.leave_one_out(effect.estimate, sums, language=language),
            gates.bootstrap(effect, se, _fewest(sums), rng, language=language),
        )

    return _gather(data, panel, contrast, effect, naive, found, (panel.rows,), _carriers(data, panel.rows, arm), checks)


def _all_columns(panel: ChoicePanel, name: str) -> npt.NDArray[np.intp]:
    return np.concatenate([panel.places[name], panel.curves[name]]).astype(np.intp)


def _by_user(
    data: StudyData, panel: ChoicePanel, contrast: Contrast, arm: ChoiceArm, moved: ChoiceArm, found: Identification
) -> Evidence:
    """Estimate how an effect differs between two kinds of users: by a model of each, or along a numeric modifier."""
    cause, language = contrast.edge.cause, data.config.study.language
    columns, own = panel.adjustment(cause, found.adjust), panel.places[cause]
    place = int(np.searchsorted(columns, own[arm.place]))
    users = panel.rows.user
    if moved.numeric:
        known = np.isfinite(moved.values)[users]
        rows = panel.rows.take(known)
        value = moved.values[rows.user]
        spread = float(value.std())
        if not spread > 0:
            return _blocked(data, panel, contrast, say(language, "modifier constant"), found.adjust)
        z = np.column_stack([np.ones(rows.n), (value - value.mean()) / spread])
        effect = fit_choice(rows, panel.columns[:, columns], z).effect(len(columns) + place, arm.unit * spread)
        naive = fit_choice(rows, panel.columns[:, own], z).effect(len(own) + arm.place, arm.unit * spread)
        parts: tuple[ChoiceRows, ...] = (rows,)
    else:
        groups = [mask[users] for mask in (moved.rows, moved.reference)]
        parts = tuple(panel.rows.take(group) for group in groups)
        for part, side in zip(parts, (moved.level, moved.against), strict=True):
            rare = _too_rare(part, arm)
            if rare is not None:
                level = arm.level if rare else arm.against
                why = say(language, "never bought by", level=level, count=MIN_BOUGHT, group=side)
                return _blocked(data, panel, contrast, why, found.adjust)
        fits = [panel.fit(columns, group) for group in groups]
        effect = difference(fits[0].effect(place, arm.unit), fits[1].effect(place, arm.unit))
        plain = [panel.fit(own, group) for group in groups]
        naive = difference(plain[0].effect(arm.place, arm.unit), plain[1].effect(arm.place, arm.unit))
        parts = tuple(fit.rows for fit in fits)
    main = panel.fit(columns)

    def checks(se: float, sums: dict[str, Sums], value: float) -> tuple[Check, ...]:
        rng = _rng(data, contrast)
        return (
            gates.overlap(effect, numeric=True, language=language),
            choice_gates.user_placebo(main, place, arm.unit, moved.values, rng, language=language),
            gates.subset(effect.estimate, next(iter(sums.values())), rng, language=language),
            gates.leave_one_out(effect.estimate, sums, language=language),
            gates.bootstrap(effect, se, _fewest(sums), rng, language=language),
        )

    sides = [moved.rows] if moved.numeric else [moved.rows, moved.reference]
    carriers = min([_carriers(data, panel.rows, arm), *(len(np.unique(users[side[users]])) for side in sides)])
    return _gather(data, panel, contrast, effect, naive, found, parts, carriers, checks)


def _by_item(
    data: StudyData, panel: ChoicePanel, contrast: Contrast, arm: ChoiceArm, moved: ChoiceArm, found: Identification
) -> Evidence:
    """Estimate how an effect differs between items with and without a property: by products of their columns."""
    cause, modifier = contrast.edge.cause, contrast.edge.modifier or ""
    language = data.config.study.language
    own, other = panel.columns[:, panel.places[cause]], panel.columns[:, panel.places[modifier]]
    products = (own[:, :, None] * other[:, None, :]).reshape(len(own), -1)
    adjust = (*found.adjust, modifier) if modifier not in found.adjust else found.adjust
    columns = panel.adjustment(cause, adjust)
    place = arm.place * other.shape[1] + moved.place
    both = arm.rows & moved.rows if not (arm.numeric or moved.numeric) else None
    if both is not None and _bought(panel.rows, both) < MIN_BOUGHT:
        why = say(language, "never bought", level=f"{arm.level}, {moved.level}", count=MIN_BOUGHT)
        return _blocked(data, panel, contrast, why, found.adjust)
    few = len(np.unique(panel.rows.item_of_row)) - len(columns) - products.shape[1] < MIN_SPARE_ITEMS
    fitted = fit_choice if few or data.config.validation.scope == "these items" else fit_with_worth
    fit = fitted(panel.rows, np.hstack([panel.columns[:, columns], products]))
    plain = fitted(panel.rows, np.hstack([own, other, products]))
    unit = arm.unit * moved.unit
    effect = fit.effect(len(columns) + place, unit)
    naive = plain.effect(own.shape[1] + other.shape[1] + place, unit)

    def checks(se: float, sums: dict[str, Sums], value: float) -> tuple[Check, ...]:
        rng = _rng(data, contrast)
        return (
            gates.overlap(effect, numeric=True, language=language),
            choice_gates.item_placebo(fit, len(columns) + place, unit, rng, language=language),
            gates.subset(effect.estimate, _of_cause(sums), rng, language=language),
            gates.leave_one_out(effect.estimate, sums, language=language),
            gates.bootstrap(effect, se, _fewest(sums), rng, language=language),
        )

    carriers = min(_carriers(data, panel.rows, arm), _carriers(data, panel.rows, moved))
    if both is not None:
        carriers = min(carriers, _distinct_items(panel.rows, both))
    return _gather(data, panel, contrast, effect, naive, found, (panel.rows,), carriers, checks)


def _bought(rows: ChoiceRows, side: Mask) -> int:
    return int(side[rows.items[:, 0]].sum())


def _too_rare(rows: ChoiceRows, arm: ChoiceArm) -> bool | None:
    """Return which side of a level was hardly ever bought: True for the level, False for the reference, None."""
    if arm.numeric:
        return None
    for side, mask in ((True, arm.rows), (False, arm.reference)):
        if _bought(rows, mask) < MIN_BOUGHT:
            return side
    return None


def _distinct_items(rows: ChoiceRows, side: Mask) -> int:
    return len(np.unique(rows.item_of_row[side[rows.item_of_row]]))


def _carriers(data: StudyData, rows: ChoiceRows, arm: ChoiceArm) -> int:
    """Count the items on offer in the smaller arm; where nothing is claimed of other items, the users who bought it."""
    sides = (arm.rows,) if arm.numeric else (arm.rows, arm.reference)
    if data.config.validation.scope == "these items":
        return min(len(np.unique(rows.user[side[rows.items[:, 0]]])) for side in sides)
    return min(_distinct_items(rows, side) for side in sides)


def _ways(data: StudyData, parts: Sequence[ChoiceRows]) -> dict[str, Codes]:
    """Return the clusters of the standard errors; without users as clusters, each purchase is one."""
    ways: dict[str, Codes] = {}
    if data.config.users.unit == "user":
        ways["users"] = np.concatenate([part.user_of_row for part in parts])
    else:
        starts = np.cumsum([0, *(part.n for part in parts[:-1])])
        shifted = [part.choice_of_row + start for part, start in zip(parts, starts, strict=True)]
        ways["purchases"] = np.concatenate(shifted).astype(np.int32)
    if data.config.validation.scope == "items like these":
        ways["items"] = np.concatenate([part.item_of_row for part in parts])
    return ways


def _pair(ways: dict[str, Codes]) -> Codes | None:
    if len(ways) < 2:
        return None
    first, second = (codes.astype(np.int64) for codes in ways.values())
    return pd.factorize(first * (int(second.max()) + 1) + second)[0].astype(np.int32)


def _gather(
    data: StudyData,
    panel: ChoicePanel,
    contrast: Contrast,
    effect: Effect,
    naive: Effect,
    found: Identification,
    parts: Sequence[ChoiceRows],
    carriers: int,
    checks: Callable[[float, dict[str, Sums], float], tuple[Check, ...]],
) -> Evidence:
    """Put everything that a verdict needs beside an effect."""
    if effect.blocked:
        why = say(data.config.study.language, effect.blocked, name=contrast.edge.cause)
        return _blocked(data, panel, contrast, why, found.adjust)
    ways = _ways(data, parts)
    pair = _pair(ways)
    sums = sums_of(effect, ways)
    told = _inference(data, effect, sums, pair)
    value = float("nan")
    if told.se > 0 and contrast.edge.modifier is None:
        value = choice_gates.robustness(effect.estimate / told.se, max(told.clusters - 1.0, 1.0))
    tried = checks(told.se, sums, value) if np.isfinite(told.p) else ()
    information = np.concatenate(
        [np.add.reduceat(piece, part.indptr[:-1]) for piece, part in zip(_pieces(effect, parts), parts, strict=True)]
    )
    n = sum(part.n for part in parts)
    estimate = Estimate(
        contrast=contrast,
        grain="exposure",
        population="all rows",
        scale="log-odds",
        scope=data.config.validation.scope,
        estimate=effect.estimate,
        se=told.se,
        ci_low=told.low,
        ci_high=told.high,
        naive=naive.estimate,
        naive_significant=not naive.blocked and bool(_inference(data, naive, sums_of(naive, ways), pair).p < 0.05),
        p_value=told.p,
        dof=told.dof,
        n=n,
        n_users=len(np.unique(np.concatenate([part.user for part in parts]))),
        n_items=len(np.unique(np.concatenate([part.item_of_row for part in parts]))),
        ess=float(information.sum() ** 2 / max(information @ information, 1e-300)),
        clusters=", ".join(ways),
        overlap=effect.overlap,
        robustness_value=value,
        adjusted_for=found.adjust,
        estimator=effect.estimator,
        smaller_arm=carriers,
        warnings=_warnings(data, panel, found),
        checks=tried,
        inference=told.method,
        variance=_variance(effect, sums, told.se),
    )
    return Evidence(estimate, sums)


def _fewest(sums: dict[str, Sums]) -> Sums:
    """Return the sums of the way that has fewest effective clusters."""
    return min(sums.values(), key=lambda s: s.effective)


def _variance(effect: Effect, sums: dict[str, Sums], se: float) -> dict[str, float]:
    """Return what the variance comes from; what neither users nor items account for, more purchases make smaller."""
    parts = variance_parts(effect, sums, se)
    rest = parts.pop("exposures", 0.0)
    return parts | {"purchases": parts.get("purchases", 0.0) + rest} if parts else {}


def _pieces(effect: Effect, parts: Sequence[ChoiceRows]) -> list[Floats]:
    """Return how much each row tells of the effect, part by part."""
    told = effect.leverage**2
    ends = np.cumsum([len(part.item_of_row) for part in parts])
    return np.split(told, ends[:-1])


def _inference(data: StudyData, effect: Effect, sums: dict[str, Sums], pair: Codes | None) -> Inference:
    # Choice sets take the place of an intercept: there is none that a leverage could move.
    sums = {kind: replace(s, leverage=np.zeros(s.groups)) for kind, s in sums.items()}
    se = clustered_error(effect, sums, pair)
    rows = float(len(effect.influence))
    return infer(effect.estimate, se, sums, rows=rows, signs=random_signs(data.config.study.seed))


def _of_cause(sums: dict[str, Sums]) -> Sums:
    """Return the sums by item, to which the cause is assigned; without items as clusters, by user or purchase."""
    return sums.get("items") or next(iter(sums.values()))


def _warnings(data: StudyData, panel: ChoicePanel, found: Identification) -> tuple[str, ...]:
    language = data.config.study.language
    said = list(panel.warnings)
    if found.excluded:
        said.append(say(language, "descendants", names=", ".join(found.excluded)))
    if data.config.validation.scope == "these items":
        said.append(say(language, "these items"))
    return tuple(said)


def _blocked(
    data: StudyData, panel: ChoicePanel | None, contrast: Contrast, why: str, adjusted_for: tuple[str, ...] = ()
) -> Evidence:
    estimate = blocked_estimate(
        contrast,
        why,
        grain="exposure",
        scale="log-odds",
        scope=data.config.validation.scope,
        n=len(data.events) if panel is None else panel.rows.n,
        n_users=0 if panel is None else len(np.unique(panel.rows.user)),
        n_items=0 if panel is None else len(np.unique(panel.rows.item_of_row)),
        clusters="users, items",
        overlap=float("nan"),
        adjusted_for=adjusted_for,
        warnings=(say(data.config.study.language, "exposures unseen"),) if panel is None else panel.warnings,
    )
    return Evidence(estimate, {})
