"""The verdict: one rule from an estimate, its q-value and what was claimed, to one of four words with reasons.

===================  =====================================================================================
verdict              when (the first line that applies)
===================  =====================================================================================
unidentifiable       identification is blocked, or (almost) no row could have had the other level
inconclusive         fewer than 10 clusters carry the smaller arm (scope "items like these")
inconclusive         all rows are of one user or item, which is all there is to tell the error from
refuted              the interval lies inside ± smallest_effect
inconclusive         q ≤ fdr, but a gate failed
refuted              q ≤ fdr, every gate passed, and the sign is not the claimed one
validated            q ≤ fdr and every gate passed
refuted              p > fdr, and adjustment removes a naive association
inconclusive         otherwise, with the smallest effect that could have been found and what it would take
===================  =====================================================================================
"""

from __future__ import annotations

import math

from whyrank.estimators.estimate import Estimate, VerdictName
from whyrank.estimators.words import Language, say

__all__ = ["MIN_CARRIERS", "decide"]

MIN_CARRIERS = 10
"""Clusters that the smaller arm needs before a claim about others like them can be made."""

_DETECTABLE = 2.8
"""Standard errors that an effect must have to be found with 80 % power at 5 % (1.96 + 0.84)."""


def decide(
    estimate: Estimate,
    *,
    q_value: float,
    claimed_sign: str,
    fdr: float,
    smallest_effect: float,
    language: Language = "en",
) -> tuple[VerdictName, tuple[str, ...]]:
    """Return the verdict on one estimate and its reasons.

    Parameters
    ----------
    estimate : the estimate with its checks.
    q_value : its Benjamini-Hochberg q-value over the run.
    claimed_sign : "+", "-" or "".
    fdr, smallest_effect : from the study's `[validation]`.
    language : of the reasons.
    """
    e, carriers = estimate, estimate.contrast.edge.cause.split(".", 1)[0]
    if e.blocked:
        return "unidentifiable", (e.blocked,)
    failed = [check for check in e.checks if check.passed is False]
    out_of_reach = [c for c in failed if c.name == "overlap" and c.statistic < 0.1 * c.threshold]
    if out_of_reach:
        return "unidentifiable", (out_of_reach[0].detail,)
    if e.smaller_arm < MIN_CARRIERS and e.scope == "items like these":
        what = say(language, carriers if carriers != "events" else "users or items")
        return "inconclusive", (say(language, "few", count=e.smaller_arm, what=what),)
    if not math.isfinite(e.se):
        return "inconclusive", (say(language, "no error"),)
    interval = say(language, "interval", estimate=e.estimate, low=e.ci_low, high=e.ci_high)
    if smallest_effect > 0 and -smallest_effect < e.ci_low and e.ci_high < smallest_effect:
        return "refuted", (say(language, "equivalent", smallest=smallest_effect, interval=interval),)
    adjusted = _adjusted(e, language)
    if q_value <= fdr:
        if failed:
            doubts = (say(language, "but", why=check.detail) for check in failed)
            return "inconclusive", (say(language, "seen", interval=interval), *doubts)
        way = say(language, "raises" if e.estimate > 0 else "lowers")
        if claimed_sign and (e.estimate > 0) != (claimed_sign == "+"):
            claimed = say(language, "raises" if claimed_sign == "+" else "lowers")
            return "refuted", (say(language, "other sign", claimed=claimed, way=way, interval=interval),)
        kept = say(language, "validated", way=way, adjusted=adjusted, naive=e.naive)
        return "validated", (kept, say(language, "not refuted"))
    gone = e.p_value > fdr and e.naive_significant and abs(e.estimate) < abs(e.naive) / 2
    if gone and not e.ci_low <= e.naive <= e.ci_high:
        return "refuted", (say(language, "naive", naive=e.naive, adjusted=adjusted),)
    doubt = say(language, "many tests", p=e.p_value, q=q_value) if e.p_value <= fdr else say(language, "no telling")
    return "inconclusive", (doubt, *_what_it_takes(e, carriers, smallest_effect, language))


def _adjusted(e: Estimate, language: Language) -> str:
    """Say what was adjusted for: columns, and items or users as such."""
    columns = [name for name in e.adjusted_for if "." in name]
    identities = [say(language, f"each of {name}") for name in e.adjusted_for if "." not in name]
    if not identities:
        return say(language, "columns", count=len(columns))
    joined = say(language, "and").join(identities)
    return say(language, "columns and identities", count=len(columns), identities=joined)


def _what_it_takes(e: Estimate, carriers: str, smallest_effect: float, language: Language) -> list[str]:
    """Say what this log could have found, and how much more it takes to find the effect that it hints at."""
    found = _DETECTABLE * e.se
    have = {"items": e.n_items, "users": e.n_users}.get(carriers, e.n) or e.n
    target = smallest_effect or abs(e.estimate)
    said = [say(language, "could find", found=found)]
    need = have * (found / target) ** 2 if target > 0 else math.inf
    if have < need < math.inf:
        unit = say(language, carriers if carriers in ("items", "users") else "exposures")
        much = f"{float(f'{need:.2g}'):,.0f}" if need < 1000 * have else say(language, "many times")
        said.append(say(language, "would take", target=target, need=much, unit=unit, have=have))
    return said
