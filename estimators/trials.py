"""The gates that one effect goes through, in order, each with the sums and draws that it needs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from whyrank.edge import Contrast
from whyrank.estimators import gates
from whyrank.estimators.audit import audit
from whyrank.estimators.bootstrap import Inference, few_clusters
from whyrank.estimators.contrasts import Arm
from whyrank.estimators.effects import Effect
from whyrank.estimators.estimate import Check
from whyrank.estimators.identify import Identification
from whyrank.estimators.sensitivity import sensitivity
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.sums import Sums
from whyrank.estimators.words import Language

__all__ = ["try_audit", "try_gates"]


def try_gates(
    shared: SharedNuisances,
    contrast: Contrast,
    base: Effect,
    effect: Effect,
    found: Identification,
    told: Inference,
    sums: Mapping[str, Sums],
    modifier: Arm | None,
    language: Language,
) -> tuple[Check, ...]:
    """Try every gate but the audit.

    Parameters
    ----------
    shared : the rows.
    contrast : what is compared.
    base, effect : the effect of the cause, and how it differs by the modifier (the same without one).
    found : its identification.
    told : its standard error and interval.
    sums : sums of `effect` by each way of clustering, and by the clusters that the cause is assigned to.
    modifier : its levels compared, or None.
    """
    panel, cause = shared.panel, contrast.edge.cause
    rng = shared.rng("gates", contrast.label)
    numeric = panel.blocks[cause].attribute.kind == "numeric"
    kind, _ = shared.assigned(cause)
    own = sums.get(kind) or next(iter(sums.values()))
    checks = [gates.overlap(effect, numeric=numeric, language=language)]
    if modifier is None:
        among = [sums[kind]] if kind in sums else list(sums.values())
        checks.append(gates.placebo(among, rng, language=language))
        checks.append(gates.random_common_cause(own, told.se, rng, language=language))
        checks.append(_sensitivity(shared, contrast, effect, found, language))
    else:
        _, moves = panel.cluster_of(contrast.edge.modifier or "")
        checks.append(
            gates.modifier_placebo(
                base, effect, modifier.values, moves, rng, numeric=modifier.numeric, language=language
            )
        )
    checks.append(gates.subset(effect.estimate, own, rng, language=language))
    checks.append(gates.leave_one_out(effect.estimate, sums, language=language))
    checks.append(gates.bootstrap(effect, told.se, few_clusters(sums) or own, rng, language=language))
    return tuple(checks)


def _sensitivity(
    shared: SharedNuisances,
    contrast: Contrast,
    effect: Effect,
    found: Identification,
    language: Language,
) -> Check:
    panel, cause = shared.panel, contrast.edge.cause
    block = panel.blocks[cause]
    numeric, binary = block.attribute.kind == "numeric", block.attribute.kind == "binary"
    adjust = shared.adjustment(found.adjust, cause, contrast.level)
    column = int(block.columns[block.levels.index("" if numeric or binary else contrast.level)])
    named = {name: np.intersect1d(panel.blocks[name].every, adjust) for name in (*found.adjust, cause)}
    blocks = {name: columns for name, columns in named.items() if len(columns)}
    # The other levels of the cause are held fixed, so that its level is compared with the reference.
    others = block.columns[block.columns != column]
    strengths = shared.benchmarks(cause).strengths(column, np.union1d(adjust, others), blocks)
    base, step = float("nan"), 1.0
    if panel.scale == "probability":
        values = panel.design.column(column)
        step = float(np.nanstd(panel.values(cause))) if numeric else 1.0
        base = float(panel.y.mean()) - (0.0 if numeric else effect.estimate * float(values.mean()))
    return sensitivity(effect, strengths, base=base, step=step, language=language)


def try_audit(
    shared: SharedNuisances,
    contrast: Contrast,
    arm: Arm,
    effect: Effect,
    found: Identification,
    se: float,
    language: Language,
) -> Check:
    """Have DoWhy and EconML look at an effect."""
    panel = shared.panel
    adjust = shared.adjustment(found.adjust, contrast.edge.cause, contrast.level)
    return audit(
        effect,
        np.nan_to_num(arm.values),
        panel.y,
        lambda rows: panel.design.rows(rows, adjust),
        shared.intercepts(contrast.edge.cause),
        se=se,
        discrete=not arm.numeric,
        rng=shared.rng("audit", contrast.label),
        language=language,
    )
