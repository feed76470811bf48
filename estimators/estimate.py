"""What the judge writes down: checks, one estimate per contrast, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from whyrank.edge import Contrast, Grain

__all__ = ["VERDICT_COLUMNS", "Check", "Estimate", "Judgement", "Together", "VerdictName", "blocked_estimate"]

VerdictName = Literal["validated", "refuted", "inconclusive", "unidentifiable"]

VERDICT_COLUMNS: tuple[str, ...] = (
    "edge", "cause", "level", "reference", "effect", "modifier", "modifier_level", "modifier_reference",
    "grain", "population", "scale", "scope", "verdict", "reasons", "warnings",
    "estimate", "se", "ci_low", "ci_high", "naive", "p_value", "q_value",
    "n", "n_users", "n_items", "ess", "clusters", "overlap", "robustness_value",
    "adjusted_for", "estimator", "claimed_sign", "source",
)  # fmt: skip
"""Columns of the verdict table, in order."""


@dataclass(frozen=True)
class Check:
    """One gate's result on one contrast.

    Attributes
    ----------
    name : "overlap", "placebo", "random_common_cause", "subset", "leave_one_out", "sensitivity", "audit", ...
    passed : whether the gate lets the effect through; None where it doesn't apply.
    statistic, threshold : the number compared and what it is compared with.
    detail : one sentence that a manager can read.
    data : small JSON-ready extras for pictures (e.g. {"draws": [...]}).
    """

    name: str
    passed: bool | None
    statistic: float
    threshold: float
    detail: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Together:
    """What one contrast is worth beside the other contrasts of its edge: the levels of a category are a family.

    Attributes
    ----------
    contrasts : number of contrasts looked at together.
    p_value : smallest level at which this contrast is found by a test of all of them that errs on any of them as
        seldom as promised.
    ci_low, ci_high : 95 % simultaneous interval: all of the family's hold with this probability.
    any_p_value : of the hypothesis that none of the contrasts has an effect (cluster-robust Wald test; NaN where there
        are too few clusters for it).
    """

    contrasts: int
    p_value: float
    ci_low: float
    ci_high: float
    any_p_value: float


@dataclass(frozen=True)
class Estimate:
    """One contrast as estimated, before the verdict; effect numbers are in outcome units (NaN when `blocked`).

    `blocked` is empty, or says in one sentence why the effect cannot be identified. `naive_significant` tells whether
    the unadjusted contrast differs from zero at 5 % with the same clusters. `smaller_arm` counts the clusters of the
    cause (items, users or rows) in the smaller arm. `adjusted_for` holds attributes, and `items` or `users` where what
    is lasting in each of them was adjusted for too.
    """

    contrast: Contrast
    grain: Grain
    population: str
    scale: str
    scope: str
    estimate: float
    se: float
    ci_low: float
    ci_high: float
    naive: float
    naive_significant: bool
    p_value: float
    dof: float
    n: int
    n_users: int
    n_items: int
    ess: float
    clusters: str
    overlap: float
    robustness_value: float
    adjusted_for: tuple[str, ...]
    estimator: str
    smaller_arm: int
    blocked: str = ""
    warnings: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    inference: str = "t"
    variance: dict[str, float] = field(default_factory=dict)
    together: Together | None = None


def blocked_estimate(
    contrast: Contrast,
    why: str,
    *,
    grain: Grain,
    scale: str,
    scope: str,
    n: int,
    n_users: int,
    n_items: int,
    clusters: str,
    overlap: float,
    adjusted_for: tuple[str, ...],
    warnings: tuple[str, ...],
) -> Estimate:
    """Return the estimate of a contrast that can't be identified, with the sentence that says why."""
    nan = float("nan")
    return Estimate(
        contrast=contrast,
        grain=grain,
        population="all rows",
        scale=scale,
        scope=scope,
        estimate=nan,
        se=nan,
        ci_low=nan,
        ci_high=nan,
        naive=nan,
        naive_significant=False,
        p_value=nan,
        dof=nan,
        n=n,
        n_users=n_users,
        n_items=n_items,
        ess=nan,
        clusters=clusters,
        overlap=overlap,
        robustness_value=nan,
        adjusted_for=adjusted_for,
        estimator="none",
        smaller_arm=0,
        blocked=why,
        warnings=warnings,
    )


@dataclass(frozen=True)
class Judgement:
    """The verdict on one estimate: reached from it, the run's multiplicity, and what was claimed."""

    estimate: Estimate
    verdict: VerdictName
    reasons: tuple[str, ...]
    q_value: float
    claimed_sign: str
    source: str

    def row(self) -> dict[str, Any]:
        """Return the row of the verdict table (the columns of `VERDICT_COLUMNS`)."""
        e, c = self.estimate, self.estimate.contrast
        return {
            "edge": c.label,
            "cause": c.edge.cause,
            "level": c.level,
            "reference": c.reference,
            "effect": c.edge.effect,
            "modifier": c.edge.modifier or "",
            "modifier_level": c.modifier_level,
            "modifier_reference": c.modifier_reference,
            "grain": e.grain,
            "population": e.population,
            "scale": e.scale,
            "scope": e.scope,
            "verdict": self.verdict,
            "reasons": "; ".join(self.reasons),
            "warnings": "; ".join(e.warnings),
            "estimate": e.estimate,
            "se": e.se,
            "ci_low": e.ci_low,
            "ci_high": e.ci_high,
            "naive": e.naive,
            "p_value": e.p_value,
            "q_value": self.q_value,
            "n": e.n,
            "n_users": e.n_users,
            "n_items": e.n_items,
            "ess": e.ess,
            "clusters": e.clusters,
            "overlap": e.overlap,
            "robustness_value": e.robustness_value,
            "adjusted_for": ", ".join(e.adjusted_for),
            "estimator": e.estimator,
            "claimed_sign": self.claimed_sign,
            "source": self.source,
        }
