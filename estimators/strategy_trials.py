"""The gates of effects from instruments and through mediators: those that make sense for them, and their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from whyrank.edge import Contrast
from whyrank.estimators import gates
from whyrank.estimators.bootstrap import Inference, few_clusters
from whyrank.estimators.design import Codes, Columns
from whyrank.estimators.effects import Effect
from whyrank.estimators.estimate import Check
from whyrank.estimators.front_door import FrontDoorEffect
from whyrank.estimators.identify import Identification
from whyrank.estimators.instrument import InstrumentEffect
from whyrank.estimators.sensitivity import Benchmarks, sensitivity
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.sums import Sums, sums_of
from whyrank.estimators.words import Language, say

__all__ = ["MIN_FIRST_STAGE", "try_instruments", "try_mediators"]

MIN_FIRST_STAGE = 10.0
"""Effective F of the first stage below which instruments are weak (Staiger and Stock 1997)."""

MIN_SHARE = 1e-3
MIN_LEFT = 0.01
LEVEL = 0.05


def try_instruments(
    shared: SharedNuisances,
    contrast: Contrast,
    effect: InstrumentEffect,
    found: Identification,
    told: Inference,
    reduced: Inference,
    sums: Mapping[str, Sums],
    language: Language,
) -> tuple[Check, ...]:
    """Try what an effect from instruments must stand.

    What threatens it is not what confounds cause and outcome, but what ties the instruments to the outcome: placebo,
    random common cause and sensitivity are tried on the effect of the instruments themselves.

    Parameters
    ----------
    shared, contrast, effect, found : what was estimated, where and how.
    told, reduced : how sure the effect is, and that of the instruments on the outcome.
    sums : sums of `effect` by each way of clustering and by the clusters that the instruments are assigned to.
    language : of the study.
    """
    rng = shared.rng("gates", contrast.label)
    first = found.instruments[0]
    kind, codes = shared.assigned(first)
    own = sums.get(kind) or next(iter(sums.values()))
    direct = effect.reduced
    ways = {kind: codes} if kind != "rows" else _ways(shared)
    moved = sums_of(direct, ways)
    strong, share = effect.first_stage, effect.overlap
    checks = [
        Check("overlap", bool(share >= MIN_SHARE), share, MIN_SHARE, say(language, "overlap instrument", share=share)),
        Check(
            "instrument_strength",
            bool(strong >= MIN_FIRST_STAGE),
            strong,
            MIN_FIRST_STAGE,
            say(language, "strength", f=strong, least=MIN_FIRST_STAGE),
        ),
        Check("anderson_rubin", bool(reduced.p <= LEVEL), reduced.p, LEVEL, say(language, "reduced", p=reduced.p)),
        _agreement(effect, language),
    ]
    if not found.confirmed:
        names = ", ".join(found.instruments)
        edge = contrast.edge
        way = say(language, "confirm", cause=edge.cause, effect=edge.effect, name=first)
        checks.append(Check("exclusion", False, 0.0, 1.0, say(language, "exclusion", names=names) + way))
    checks.append(gates.placebo(list(moved.values()), rng, language=language))
    checks.append(gates.random_common_cause(next(iter(moved.values())), reduced.se, rng, language=language))
    place = shared.panel.blocks[first]
    adjust = shared.adjustment(found.adjust, first, "")
    benchmarks = shared.benchmarks(first)
    checks.append(_sensitivity(shared, direct, benchmarks, int(place.columns[0]), adjust, found.adjust, language))
    checks.append(gates.subset(effect.estimate, own, rng, language=language))
    checks.append(gates.leave_one_out(effect.estimate, sums, language=language))
    checks.append(gates.bootstrap(effect, told.se, few_clusters(sums) or own, rng, language=language))
    checks.append(_not_for("audit", language))
    return tuple(checks)


def try_mediators(
    shared: SharedNuisances,
    contrast: Contrast,
    effect: FrontDoorEffect,
    found: Identification,
    told: Inference,
    sums: Mapping[str, Sums],
    language: Language,
) -> tuple[Check, ...]:
    """Try what an effect through mediators must stand: both legs of it, since either could be missing.

    Parameters
    ----------
    shared, contrast, effect, found, told, sums, language : as in `try_instruments`.
    """
    rng = shared.rng("gates", contrast.label)
    panel, cause = shared.panel, contrast.edge.cause
    kind, _ = shared.assigned(cause)
    own = sums.get(kind) or next(iter(sums.values()))
    share = effect.overlap
    checks = [
        Check("overlap", bool(share >= MIN_LEFT), share, MIN_LEFT, say(language, "overlap mediators", share=share))
    ]
    tried = []
    for leg, name in zip(effect.legs, (cause, found.mediators[0]), strict=True):
        way, of = shared.assigned(name)
        ways = {way: of} if way != "rows" else _ways(shared)
        tried.append(gates.placebo(list(sums_of(leg, ways).values()), rng, language=language))
    checks.append(_worst(tried))
    checks.append(_not_for("random_common_cause", language))
    most = _main_mediator(shared, effect, found)
    if most is not None:
        benchmarks = shared.benchmarks(cause)
        block = panel.blocks[cause]
        levels = list(block.levels)
        column = int(block.columns[levels.index(contrast.level) if contrast.level in levels else 0])
        adjust = shared.adjustment(found.adjust, cause, contrast.level)
        to_mediator, beside = _with_outcome(benchmarks, most), np.union1d(adjust, block.columns)
        first, second = effect.legs
        checks.append(
            _worst(
                [
                    _sensitivity(shared, first, to_mediator, column, adjust, found.adjust, language),
                    _sensitivity(shared, second, benchmarks, most, beside, found.adjust, language),
                ]
            )
        )
    checks.append(gates.subset(effect.estimate, own, rng, language=language))
    checks.append(gates.leave_one_out(effect.estimate, sums, language=language))
    checks.append(_not_for("bootstrap", language))
    checks.append(_not_for("audit", language))
    return tuple(checks)


def _ways(shared: SharedNuisances) -> dict[str, Codes]:
    """Return the clusters among which something that varies within users and items is turned round."""
    panel = shared.panel
    return {kind: codes for kind, codes in (("users", panel.user), ("items", panel.item)) if codes is not None}


def _agreement(effect: InstrumentEffect, language: Language) -> Check:
    if not np.isfinite(effect.agreed):
        return Check("over_identification", None, float("nan"), LEVEL, say(language, "one instrument"))
    detail = say(language, "agreement", p=effect.agreed)
    return Check("over_identification", bool(effect.agreed > LEVEL), effect.agreed, LEVEL, detail)


def _sensitivity(
    shared: SharedNuisances,
    effect: Effect,
    benchmarks: Benchmarks,
    column: int,
    adjust: Columns,
    names: tuple[str, ...],
    language: Language,
) -> Check:
    """Would something unmeasured, as strong as the strongest measured column, explain this association?"""
    named = {name: np.intersect1d(shared.panel.blocks[name].every, adjust) for name in names}
    blocks = {name: columns for name, columns in named.items() if len(columns)}
    return sensitivity(effect, benchmarks.strengths(column, adjust, blocks), language=language)


def _with_outcome(benchmarks: Benchmarks, column: int) -> Benchmarks:
    """Return the benchmarks with a column of the design in place of the outcome."""
    order = np.append(np.arange(len(benchmarks.gram) - 1), column)
    gram = benchmarks.gram[np.ix_(order, order)]
    gram[column, :-1] = gram[:-1, column] = 0.0  # it is the outcome now, and no column of the design
    gram[column, column] = 1.0
    gram[column, -1] = gram[-1, column] = 0.0
    return replace(benchmarks, gram=gram)


def _main_mediator(shared: SharedNuisances, effect: FrontDoorEffect, found: Identification) -> int | None:
    """Return the design column through which most of the effect goes."""
    blocks = [shared.panel.blocks[name] for name in found.mediators if name in shared.panel.blocks]
    pairs = [(level, int(c)) for block in blocks for level, c in zip(block.levels, block.columns, strict=True)]
    places = [c for level, c in pairs if level != "missing?"]
    return places[int(np.argmax(np.abs(effect.weights)))] if len(places) == len(effect.weights) else None


def _worst(checks: list[Check]) -> Check:
    """Return the check that failed, or the one nearest to failing."""
    return min(checks, key=lambda c: (bool(c.passed), abs(c.statistic) / max(abs(c.threshold), 1e-300)))


def _not_for(name: str, language: Language) -> Check:
    none = Check("audit", None, float("nan"), float("nan"), say(language, "not for this strategy"))
    return replace(none, name=name)
