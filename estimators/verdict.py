"""The verdict: one rule from an estimate, its q-value and what was claimed, to one of four words with reasons.

===================  =====================================================================================
verdict              when (the first line that applies)
===================  =====================================================================================
unidentifiable       identification is blocked, or (almost) no row could have had the other level
inconclusive         fewer than 10 clusters carry the smaller arm (scope "items like these")
refuted              the interval lies inside ± smallest_effect
inconclusive         q ≤ fdr, but a gate failed
refuted              q ≤ fdr, every gate passed, and the sign is not the claimed one
validated            q ≤ fdr and every gate passed
refuted              q > fdr, and adjustment removes a naive association
inconclusive         otherwise, with the smallest effect that could have been found and what it would take
===================  =====================================================================================
"""

from __future__ import annotations

import math

from whyrank.estimators.estimate import Estimate, VerdictName

__all__ = ["MIN_CARRIERS", "decide"]

MIN_CARRIERS = 10
"""Clusters that the smaller arm needs before a claim about others like them can be made."""

_DETECTABLE = 2.8
"""Standard errors that an effect must have to be found with 80 % power at 5 % (1.96 + 0.84)."""

_UNIT = {"items": "items", "users": "users", "rows": "exposures"}


def decide(
    estimate: Estimate, *, q_value: float, claimed_sign: str, fdr: float, smallest_effect: float
) -> tuple[VerdictName, tuple[str, ...]]:
    """Return the verdict on one estimate and its reasons.

    Parameters
    ----------
    estimate : the estimate with its checks.
    q_value : its Benjamini-Hochberg q-value over the run.
    claimed_sign : "+", "-" or "".
    fdr, smallest_effect : from the study's `[validation]`.
    """
    e = estimate
    if e.blocked:
        return "unidentifiable", (e.blocked,)
    failed = [check for check in e.checks if check.passed is False]
    if any(check.name == "overlap" and check.statistic < 0.1 * check.threshold for check in failed):
        return "unidentifiable", (next(c.detail for c in failed if c.name == "overlap"),)
    carriers = e.contrast.edge.cause.split(".", 1)[0]
    if e.smaller_arm < MIN_CARRIERS and e.scope == "items like these":
        what = carriers if carriers != "events" else "users or items"
        return "inconclusive", (f"only {e.smaller_arm} {what} carry it: too few to speak of others like them",)
    inside = smallest_effect > 0 and -smallest_effect < e.ci_low and e.ci_high < smallest_effect
    if inside:
        return "refuted", (f"the effect lies within ±{smallest_effect:g}, the smallest of interest: {_interval(e)}",)
    if q_value <= fdr:
        if failed:
            return "inconclusive", (f"an effect of {_interval(e)} was seen", *(f"but {c.detail}" for c in failed))
        seen = "raises" if e.estimate > 0 else "lowers"
        if claimed_sign and (e.estimate > 0) != (claimed_sign == "+"):
            claim = "raises" if claimed_sign == "+" else "lowers"
            return "refuted", (f"claimed: {claim}; the data say that it {seen}: {_interval(e)}",)
        return "validated", (f"{seen} it by {_interval(e)}, after adjustment; no attempt to refute it succeeded",)
    if e.naive_significant and abs(e.estimate) < abs(e.naive) / 2 and not e.ci_low <= e.naive <= e.ci_high:
        return "refuted", (
            f"without adjustment it looks like {e.naive:+.3g}; adjusted, {_interval(e)} is left: not told from zero",
        )
    return "inconclusive", (f"{_interval(e)} can't be told from zero", _what_it_takes(e, carriers, smallest_effect))


def _interval(e: Estimate) -> str:
    return f"{e.estimate:+.3g} (95 % interval {e.ci_low:+.3g} to {e.ci_high:+.3g})"


def _what_it_takes(e: Estimate, carriers: str, smallest_effect: float) -> str:
    """Say what this log could have found, and how much more it takes to find the effect that it hints at."""
    found = _DETECTABLE * e.se
    have = {"items": e.n_items, "users": e.n_users}.get(carriers, e.n) or e.n
    target = smallest_effect or abs(e.estimate)
    text = f"this log can find effects of {found:.2g} and more"
    if target > 0:
        need = have * (found / target) ** 2
        unit = _UNIT.get(carriers, "exposures")
        if math.isfinite(need) and need > have:
            scale = need / have
            much = f"{need:,.0f}" if scale < 1000 else "over 1,000 times as many"
            text += f"; one of {target:.2g} would take about {much} {unit} (there are {have:,})"
    return text
