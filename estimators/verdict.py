"""The verdict: one rule from an estimate, its q-values and what was claimed, to one of four words with reasons.

===================  =====================================================================================
verdict              when (the first line that applies)
===================  =====================================================================================
unidentifiable       identification is blocked, or (almost) no row could have had the other level
inconclusive         fewer than 10 users or items carry the smaller arm (scope "these items": fewer than 10 users)
inconclusive         all rows are of one user or item, which is all there is to tell the error from
inconclusive         it rests on instruments that are weak, contradict each other, or are nobody's word
refuted              the interval lies inside ± smallest_effect
inconclusive         found, but a gate failed
refuted              found, every gate passed, and the sign is not the claimed one
validated            found, and every gate passed
refuted              p > fdr, the overlap gate passed, and adjustment removes a naive association
inconclusive         otherwise, with the smallest effect that could have been found and what it would take
===================  =====================================================================================

*Found* means that both q-values are at most fdr: over the contrasts of the run, and over its edges, with the contrasts
of one edge, such as a category's levels, looked at together.
"""

from __future__ import annotations

import math

from whyrank.estimators.estimate import Estimate, VerdictName
from whyrank.estimators.words import Language, say

__all__ = ["MIN_CARRIERS", "association_collapses", "decide"]

MIN_CARRIERS = 10
"""Clusters that the smaller arm needs before a claim about others like them can be made."""

_INSTRUMENT = ("instrument_strength", "over_identification", "exclusion")
"""Gates without which an effect from instruments says nothing, neither that there is one nor that there is none."""

_DETECTABLE = 2.8
"""Standard errors that an effect must have to be found with 80 % power at 5 % (1.96 + 0.84)."""

_DOMINANT = 0.8
"""Share of the variance from which on only more of that kind is worth the trouble."""


def decide(
    estimate: Estimate,
    *,
    q_value: float,
    claimed_sign: str,
    fdr: float,
    smallest_effect: float,
    edge_q_value: float | None = None,
    language: Language = "en",
) -> tuple[VerdictName, tuple[str, ...]]:
    """Return the verdict on one estimate and its reasons.

    Parameters
    ----------
    estimate : the estimate with its checks.
    q_value : its q-value over the contrasts of the run.
    claimed_sign : "+", "-" or "".
    fdr, smallest_effect : from the study's `[validation]`.
    edge_q_value : its q-value over the edges of the run, adjusted for the other contrasts of its edge; None: the same.
    language : of the reasons.
    """
    e = estimate
    if e.blocked:
        return "unidentifiable", (e.blocked,)
    failed = [check for check in e.checks if check.passed is False]
    out_of_reach = [c for c in failed if c.name == "overlap" and c.statistic < 0.1 * c.threshold]
    if out_of_reach:
        return "unidentifiable", (out_of_reach[0].detail,)
    if e.smaller_arm < MIN_CARRIERS:
        return "inconclusive", (say(language, "few", count=e.smaller_arm, what=say(language, _carriers(e))),)
    if not math.isfinite(e.se):
        return "inconclusive", (say(language, "no error"),)
    interval = say(language, "interval", estimate=e.estimate, low=e.ci_low, high=e.ci_high)
    unfounded = [check for check in failed if check.name in _INSTRUMENT]
    if unfounded:
        others = [check for check in failed if check not in unfounded]
        doubts = (say(language, "but", why=check.detail) for check in (*unfounded, *others))
        return "inconclusive", (say(language, "seen", interval=interval), *doubts)
    if smallest_effect > 0 and -smallest_effect < e.ci_low and e.ci_high < smallest_effect:
        return "refuted", (say(language, "equivalent", smallest=smallest_effect, interval=interval),)
    adjusted = _adjusted(e, language)
    edge_q = q_value if edge_q_value is None else edge_q_value
    if q_value <= fdr and edge_q <= fdr:
        if failed:
            doubts = (say(language, "but", why=check.detail) for check in failed)
            return "inconclusive", (say(language, "seen", interval=interval), *doubts)
        way = say(language, "raises" if e.estimate > 0 else "lowers")
        if claimed_sign and (e.estimate > 0) != (claimed_sign == "+"):
            claimed = say(language, "raises" if claimed_sign == "+" else "lowers")
            return "refuted", (say(language, "other sign", claimed=claimed, way=way, interval=interval),)
        kept = say(language, "validated", way=way, adjusted=adjusted, naive=e.naive)
        return "validated", (kept, *_beside(e, language), say(language, "not refuted"))
    thin = [check for check in failed if check.name == "overlap"]
    gone = e.p_value > fdr and association_collapses(e)
    if gone and not thin and not e.ci_low <= e.naive <= e.ci_high:
        return "refuted", (say(language, "naive", naive=e.naive, adjusted=adjusted),)
    if e.p_value > fdr:
        doubt = say(language, "no telling")
    elif q_value > fdr or e.together is None:
        doubt = say(language, "many tests", p=e.p_value, q=max(q_value, edge_q))
    else:
        doubt = say(language, "many levels", p=e.p_value, q=edge_q, count=e.together.contrasts)
    return "inconclusive", (doubt, *(check.detail for check in thin), *_what_it_takes(e, smallest_effect, language))


def association_collapses(e: Estimate) -> bool:
    """Tell whether cause and effect go together, and adjustment takes more than half of that away."""
    return e.naive_significant and abs(e.estimate) < abs(e.naive) / 2


def _carriers(e: Estimate) -> str:
    """Name what carries the cause: items, users, or either where it belongs to the exposure."""
    if e.scope == "these items" and e.n_users:
        return "users"
    table = e.contrast.edge.cause.split(".", 1)[0]
    return table if table != "events" else "users or items"


def _beside(e: Estimate, language: Language) -> tuple[str, ...]:
    """Say how far the interval reaches when all contrasts of the edge are to hold at once."""
    if e.together is None:
        return ()
    t = e.together
    return (say(language, "together", count=t.contrasts, low=t.ci_low, high=t.ci_high),)


def _adjusted(e: Estimate, language: Language) -> str:
    """Say what was adjusted for: columns, and items or users as such."""
    columns = [name for name in e.adjusted_for if "." in name]
    identities = [say(language, f"each of {name}") for name in e.adjusted_for if "." not in name]
    if not identities:
        return say(language, "columns", count=len(columns))
    joined = say(language, "and").join(identities)
    return say(language, "columns and identities", count=len(columns), identities=joined)


def _what_it_takes(e: Estimate, smallest_effect: float, language: Language) -> list[str]:
    """Say what this log could have found, and how much more it takes to find the effect that it hints at.

    More items make smaller what comes from how items differ, and nothing else; so for users and for exposures. What
    dominates the variance is what more is needed of; where that alone can't do it, more of everything.
    """
    found = _DETECTABLE * e.se
    target = smallest_effect or abs(e.estimate)
    said = [say(language, "could find", found=found)]
    if not 0 < target < found:
        return said
    unit = max(e.variance, key=lambda kind: e.variance[kind], default=_unit(e))
    have = {"items": e.n_items, "users": e.n_users}.get(unit, e.n) or e.n
    part = e.variance.get(unit, 1.0)
    left = (target / found) ** 2 - (1.0 - part)  # what this kind may still add to the variance
    if left > 0.1 * part * (target / found) ** 2:
        need = have * part / left
        much = f"{float(f'{need:.2g}'):,.0f}" if need < 1000 * have else say(language, "many times")
        said.append(say(language, "would take", target=target, need=much, unit=say(language, unit), have=have))
        if unit != "exposures" and part >= _DOMINANT and e.grain == "exposure" and e.variance:
            said.append(say(language, "would not help", unit=say(language, unit)))
    else:
        times = f"{float(f'{(found / target) ** 2:.2g}'):,g}"
        if (found / target) ** 2 >= 1000:
            said.append(say(language, "would take thousands", target=target))
        else:
            said.append(say(language, "would take all", target=target, times=times))
    return said


def _unit(e: Estimate) -> str:
    table = e.contrast.edge.cause.split(".", 1)[0]
    return table if table in ("items", "users") else "exposures"
