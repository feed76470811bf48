"""The levels of a category looked at together: errors of the family, not of each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from whyrank.estimators.bootstrap import infer, random_signs
from whyrank.estimators.effects import Effect, partialling_out
from whyrank.estimators.estimate import Estimate
from whyrank.estimators.multiplicity import edge_q_values, q_values
from whyrank.estimators.sums import clustered_error, sums_of
from whyrank.estimators.together import Evidence, adjusted_p_values, correlation, look_together, null_scores

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

Floats = npt.NDArray[np.float64]
ITEMS, ROWS, LEVELS = 90, 3_000, 6


def contrast(y: Floats, arm: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> Effect:
    """A level against the reference, with nothing adjusted for."""
    rows = arm | reference
    t = np.where(rows, arm - arm[rows].mean(), 0.0)
    return partialling_out(np.where(rows, y - y[rows].mean(), 0.0), t, float(np.mean(t**2)))


def family(lab: Lab, rng: np.random.Generator, size: float = 0.0) -> list[Evidence]:
    """Five levels against a reference, dealt to items that differ; the first has an effect of this size."""
    item = rng.integers(0, ITEMS, ROWS).astype(np.int32)
    level = rng.permutation(np.arange(ITEMS) % LEVELS)[item]
    y = size * (level == 1) + 0.5 * rng.normal(size=ITEMS)[item] + rng.normal(size=ROWS)
    out = []
    for k in range(1, LEVELS):
        effect = contrast(y, level == k, level == 0)
        sums = sums_of(effect, {"items": item})
        told = infer(effect.estimate, clustered_error(effect, sums), sums, rows=0, signs=random_signs(7))
        estimate = lab.made(
            estimate=effect.estimate, se=told.se, p_value=told.p, ci_low=told.low, ci_high=told.high, dof=told.dof
        )
        out.append(Evidence(estimate, sums))
    return out


def together(evidence: list[Evidence]) -> list[Any]:
    return [e.together for e in look_together(evidence, np.random.default_rng(1))]


def test_a_null_family_errs_as_seldom_as_one_test(lab: Lab) -> None:
    alone, any_level, outside, anything = [], [], [], []
    for seed in range(250):
        evidence = family(lab, np.random.default_rng(seed))
        found = together(evidence)
        alone.append(min(e.estimate.p_value for e in evidence) < 0.05)
        any_level.append(min(t.p_value for t in found) < 0.05)
        outside.append(any(not t.ci_low <= 0 <= t.ci_high for t in found))
        anything.append(found[0].any_p_value < 0.05)
    assert np.mean(alone) > 0.1
    for rate in (any_level, outside, anything):
        assert 0.01 <= np.mean(rate) <= 0.085


def test_an_effect_of_one_level_is_found(lab: Lab) -> None:
    first, *others = together(family(lab, np.random.default_rng(3), size=1.5))
    assert first.p_value < 0.001
    assert first.ci_low > 0
    assert first.any_p_value < 0.01
    assert min(t.p_value for t in others) > 0.05


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 2))
def test_adjusted_p_values_lie_between_the_plain_and_bonferronis(lab: Lab, seed: int, size: float) -> None:
    evidence = family(lab, np.random.default_rng(seed), size)
    found = together(evidence)
    p, adjusted = np.array([e.estimate.p_value for e in evidence]), np.array([t.p_value for t in found])
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(len(p) * p, 1) + 0.02).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    for e, t in zip(evidence, found, strict=True):
        assert t.contrasts == LEVELS - 1
        assert t.ci_low <= e.estimate.ci_low
        assert t.ci_high >= e.estimate.ci_high


def test_false_discoveries_among_contrasts_and_among_edges() -> None:
    """Fifty edges of one contrast, of which five do something, and three categories of twenty levels that all do.

    So many true levels make the threshold over contrasts lenient, and edges of one contrast that do nothing slip in;
    among edges, they are many of the few found.
    """
    rng = np.random.default_rng(6)
    sizes = [1] * 50 + [20] * 3
    edges, real = np.repeat(np.arange(53), sizes), np.repeat(np.arange(53) % 50 < 5, sizes)
    scores = null_scores(np.full((20, 20), 0.5) + 0.5 * np.eye(20), rng)
    rates: dict[str, list[float]] = {k: [] for k in ("contrasts", "edges", "plain edges", "power")}

    def false(picked: npt.NDArray[np.bool_]) -> float:
        hit = {int(e) for e in edges[picked]}
        return len(hit - {int(e) for e in edges[real]}) / max(len(hit), 1)

    for _ in range(300):
        own = rng.normal(size=110)
        z = np.where(edges < 50, own, np.sqrt(0.5) * (rng.normal(size=53)[edges] + own)) + 4.0 * real
        p = 2 * stats.norm.sf(np.abs(z))
        adjusted = p.copy()
        for e in range(50, 53):
            adjusted[edges == e] = adjusted_p_values(p[edges == e], scores)
        plain = q_values(p) <= 0.05
        found = plain & (edge_q_values(adjusted, edges.tolist()) <= 0.05)
        rates["contrasts"].append(float((found & ~real).sum() / max(found.sum(), 1)))
        rates["edges"].append(false(found))
        rates["plain edges"].append(false(plain))
        rates["power"].append(float((found & real).sum() / real.sum()))
    mean = {name: float(np.mean(values)) for name, values in rates.items()}
    error = 2 * float(np.std(rates["edges"])) / np.sqrt(300)
    assert mean["contrasts"] <= 0.05
    assert mean["edges"] <= 0.05 + error
    assert mean["plain edges"] > 0.1
    assert mean["power"] > 0.75


def test_levels_with_one_reference_are_correlated(lab: Lab) -> None:
    R = np.mean([correlation([e.sums for e in family(lab, np.random.default_rng(s))]) for s in range(20)], axis=0)
    assert np.diag(R) == pytest.approx(1)
    assert R[np.triu_indices(LEVELS - 1, 1)].mean() == pytest.approx(0.5, abs=0.08)  # groups of equal size


def test_one_contrast_is_no_family(lab: Lab) -> None:
    evidence = family(lab, np.random.default_rng(4))
    assert together(evidence[:1]) == [None]
    blocked = Evidence(replace(lab.made(), p_value=float("nan"), se=float("nan")), {})
    assert together([evidence[0], blocked]) == [None, None]
    assert [t is None for t in together([*evidence[:2], blocked])] == [False, False, True]


def test_the_judge_looks_at_levels_together(lab: Lab) -> None:
    rng = np.random.default_rng(5)
    item = rng.integers(0, ITEMS, ROWS)
    brand = rng.permutation(np.arange(ITEMS) % 4)
    y = 1.0 * (brand == 1)[item] + 0.3 * rng.normal(size=ITEMS)[item] + rng.normal(size=ROWS)
    columns = {"brand": [f"b{b}" for b in brand], "other": rng.integers(0, 2, ITEMS).astype(float)}
    data = lab.study(
        {}, columns, {"user": rng.integers(0, 200, ROWS), "item": item, "y": y}, n_users=200,
        reference={"items.brand": "b0"},
    )  # fmt: skip
    verdicts = lab.verdicts(data, "items.brand -> events.y", "items.other -> events.y")
    by: dict[str, Any] = {v.estimate.contrast.level: v for v in verdicts}
    assert by["b1"].verdict == "validated"
    assert "with all 3 levels looked at together" in "; ".join(by["b1"].reasons)
    assert by["b2"].verdict != "validated"
    single: Estimate = by["1"].estimate
    assert single.together is None
