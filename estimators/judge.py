"""From a run's estimates to verdicts: multiplicity over all its tests, then the one rule on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from whyrank.edge import Edge, Hypothesis
from whyrank.estimators.estimate import Estimate, Judgement
from whyrank.estimators.multiplicity import Multiplicity, edge_q_values, q_values
from whyrank.estimators.verdict import decide
from whyrank.estimators.words import Language

__all__ = ["judge"]


def judge(
    estimates: Sequence[Estimate],
    hypotheses: Sequence[Hypothesis],
    *,
    fdr: float,
    smallest_effect: float,
    multiplicity: Multiplicity = "bh",
    untested: Mapping[Edge, int] | None = None,
    language: Language = "en",
) -> list[Judgement]:
    """Reach the verdicts of a run: multiplicity over all its tests, then the one rule on each.

    Parameters
    ----------
    estimates : every contrast of the run.
    hypotheses : who proposed what; a claim counts for binary and numeric causes, and only where proposers agree.
    fdr, smallest_effect, multiplicity : from the study's `[validation]`.
    untested : edges that were passed over after a look at the data, with the number of their contrasts. They count as
        tests that found nothing (p = 1): what is tested was chosen among them.
    language : of the reasons.
    """
    passed_over = dict(untested or {})
    p = [*(e.p_value for e in estimates), *[1.0] * sum(passed_over.values())]
    q = q_values(np.array(p, np.float64), multiplicity)[: len(estimates)]
    adjusted = [e.together.p_value if e.together else e.p_value for e in estimates]
    edges = [*(e.contrast.edge for e in estimates), *passed_over]
    by_edge = edge_q_values(np.array(adjusted + [1.0] * len(passed_over), np.float64), edges, multiplicity)
    by_edge = by_edge[: len(estimates)]
    proposed: dict[Edge, list[Hypothesis]] = {}
    for hypothesis in hypotheses:
        proposed.setdefault(hypothesis.edge, []).append(hypothesis)
    out = []
    for estimate, q_value, edge_q in zip(estimates, q, by_edge, strict=True):
        contrast = estimate.contrast
        by = proposed.get(contrast.edge, [])
        signs = {h.claimed_sign for h in by if h.claimed_sign}
        sign = signs.pop() if len(signs) == 1 and not contrast.bracket and contrast.edge.modifier is None else ""
        source = ", ".join(sorted({f"{h.source} (round {h.round})" for h in by}))
        name, reasons = decide(
            estimate,
            q_value=float(q_value),
            claimed_sign=sign,
            fdr=fdr,
            smallest_effect=smallest_effect,
            edge_q_value=float(edge_q),
            language=language,
        )
        out.append(Judgement(estimate, name, reasons, float(q_value), sign, source))
    return out
