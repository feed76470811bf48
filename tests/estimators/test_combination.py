"""Levels that never occur together: found by counting, named, and out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from whyrank.datasets.study_data import StudyData
from whyrank.estimators.combination import Apart, never_together
from whyrank.estimators.contrasts import arms

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab


def shop(lab: Lab, share: float, **options: Any) -> StudyData:
    """Premium items exist in one category only, which has this share of the items; they sell better by 0.5."""
    rng = np.random.default_rng(5)
    items, rows = 400, 12_000
    wine = rng.random(items) < share
    premium = (wine & (rng.random(items) < 0.5)).astype(np.float64)
    category = np.where(wine, "wine", np.where(rng.random(items) < 0.5, "bread", "milk"))
    item = rng.integers(0, items, rows)
    y = 0.5 * premium[item] + 0.3 * wine[item] + rng.normal(size=rows)
    events = {"user": rng.integers(0, 300, rows), "item": item, "y": y}
    return lab.study({}, {"premium": premium, "category": category}, events, n_users=300, **options)


def test_a_brand_that_exists_in_one_category_only_is_found_and_named(lab: Lab) -> None:
    data = shop(lab, 0.3)
    panel = lab.panel(data)
    (arm,) = arms(panel, "items.premium")
    reach, apart = never_together(panel, "items.premium", arm, ("items.category",))
    assert set(apart) == {Apart("1", "items.category", "bread"), Apart("1", "items.category", "milk")}
    kept = panel.values("items.category") == panel.blocks["items.category"].levels.index("wine") + 1
    np.testing.assert_array_equal(reach, kept)


def test_the_effect_is_that_within_the_category_or_not_claimed(lab: Lab) -> None:
    (most,) = lab.verdicts(shop(lab, 0.7), "items.premium -> events.y")
    assert most.estimate.population == "overlap"
    assert abs(most.estimate.estimate - 0.5) <= 3 * most.estimate.se
    assert any("items.premium = 1 never occurs with items.category = bread, milk" in w for w in most.estimate.warnings)
    (some,) = lab.verdicts(shop(lab, 0.3), "items.premium -> events.y")
    assert some.verdict == "inconclusive"
    assert any("never occurs with items.category" in reason for reason in some.reasons)
    (few,) = lab.verdicts(shop(lab, 0.04), "items.premium -> events.y")
    assert few.verdict in ("unidentifiable", "inconclusive")


def test_levels_that_meet_by_chance_or_are_too_few_to_tell_are_left_alone(lab: Lab) -> None:
    rng = np.random.default_rng(6)
    brand, shelf = rng.choice(["a", "b", "c"], 60), rng.choice([f"s{k}" for k in range(20)], 60)
    item = rng.integers(0, 60, 5_000)
    events = {"user": rng.integers(0, 100, 5_000), "item": item, "y": rng.normal(size=5_000)}
    panel = lab.panel(lab.study({}, {"brand": brand, "shelf": shelf}, events, n_users=100))
    for arm in arms(panel, "items.brand"):
        reach, apart = never_together(panel, "items.brand", arm, ("items.shelf",))
        assert reach.all()
        assert apart == ()


def test_the_sentence_has_a_chinese_form(lab: Lab) -> None:
    (verdict,) = lab.verdicts(shop(lab, 0.3, language="zh"), "items.premium -> events.y")
    assert any("items.premium = 1 从不与 items.category = milk, bread 同时出现" in r for r in verdict.reasons)
