"""Logged propensities: weights, and effects in a world whose policy follows a mood that nobody recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from whyrank.estimators.weighting import MIN_ESS_SHARE, clip_to_ess, logged_weights

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

    from whyrank.datasets.study_data import StudyData

USERS, ITEMS = 400, 120


def moody(
    lab: Lab,
    seed: int = 1,
    *,
    rows: int = 20_000,
    push: float = 1.0,
    random: float = 0.0,
    logged: Any = True,
    **more: Any,
) -> StudyData:
    """Exposures shown by mood: sale +.3 (+.3 for members), price -.2, tag nothing; mood +.8 on y and on what is shown.

    The mood of an exposure moves the policy toward sales, tags and low prices, and the outcome.
    """
    rng = np.random.default_rng(seed)
    price = rng.normal(size=ITEMS)
    sale = (rng.random(ITEMS) < 0.4).astype(float)
    tag = (rng.random(ITEMS) < 0.5).astype(float)
    member = (rng.random(USERS) < 0.5).astype(float)
    user = np.sort(rng.integers(0, USERS, rows))
    mood = rng.normal(size=rows)
    taste = sale + tag - 0.7 * price
    score = push * mood[:, None] * taste[None, :] + 0.5 * rng.normal(size=ITEMS)[None, :]
    share = np.exp(score - score.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    randomised = (rng.random(rows) < random).astype(float)
    share[randomised > 0] = 1 / ITEMS
    item = np.minimum((rng.random(rows)[:, None] > share.cumsum(axis=1)).sum(axis=1), ITEMS - 1)
    worth = 0.2 * rng.normal(size=ITEMS)
    y = (0.3 + 0.3 * member[user]) * sale[item] - 0.2 * price[item] + 0.8 * mood + worth[item] + rng.normal(size=rows)
    events: dict[str, Any] = {"user": user, "item": item, "y": y}
    if random:
        events["randomised"] = randomised
    if logged:
        events["propensity"] = share[np.arange(rows), item]
    return lab.study(
        {"member": member},
        {"sale": sale, "price": price, "tag": tag},
        events,
        n_users=USERS,
        n_items=ITEMS,
        propensity="propensity" if logged else None,
        **more,
    )


UNMEASURED = ["events.mood -> items.sale, events.y"]


@pytest.fixture(scope="module")
def data(lab: Lab) -> StudyData:
    return moody(lab)


@pytest.mark.parametrize(
    ("edge", "truth"),
    [
        ("items.sale -> events.y", 0.45),
        ("items.price -> events.y", -0.2),
        ("items.tag -> events.y", 0.0),
        ("items.sale -> events.y | users.member", 0.3),
    ],
)
def test_what_the_policy_knew_is_weighted_away(lab: Lab, data: StudyData, edge: str, truth: float) -> None:
    found = lab.estimate(data, edge)
    assert abs(found.estimate - truth) <= 3 * found.se
    assert found.se < 0.15
    assert found.population == "all rows"
    assert any("weighted by the logged propensities" in warning for warning in found.warnings)


def test_without_the_propensities_it_is_wrong(lab: Lab) -> None:
    found = lab.estimate(moody(lab, logged=False), "items.sale -> events.y")
    assert found.estimate - 0.45 > 5 * found.se


def test_the_effective_sample_is_that_after_weighting(lab: Lab, data: StudyData) -> None:
    found = lab.estimate(data, "items.sale -> events.y")
    weighting = lab.panel(data).weighting
    assert weighting is not None
    assert found.ess < 1.2 * weighting.ess < 0.6 * found.n


def test_a_declared_unmeasured_cause_is_rescued(lab: Lab) -> None:
    blind = moody(lab, rows=4_000, logged=False, unmeasured=UNMEASURED)
    assert "events.mood" in lab.estimate(blind, "items.sale -> events.y").blocked
    found = lab.estimate(moody(lab, unmeasured=UNMEASURED), "items.sale -> events.y")
    assert abs(found.estimate - 0.45) <= 3 * found.se
    assert any("closed by the logged propensities" in warning for warning in found.warnings)
    own = moody(lab, rows=4_000, unmeasured=["items.quality -> items.sale, events.y"])
    said = lab.estimate(own, "items.sale -> events.y")
    assert said.blocked or any("quality" in warning for warning in said.warnings)


def test_the_randomised_rows_are_a_check(lab: Lab) -> None:
    found = lab.estimate(moody(lab, random=0.2), "items.sale -> events.y")
    (check,) = [c for c in found.checks if c.name == "randomised_rows"]
    assert check.passed
    assert found.population == "all rows"
    wrong = moody(lab, random=0.2)
    wrong.events["propensity"] = 1 / ITEMS  # as if everything had been drawn at random
    found = lab.estimate(wrong, "items.sale -> events.y")
    (check,) = [c for c in found.checks if c.name == "randomised_rows"]
    assert not check.passed
    (verdict,) = lab.verdicts(wrong, "items.sale -> events.y")
    assert verdict.verdict == "inconclusive"


def test_causes_of_users_are_left_alone(lab: Lab, data: StudyData) -> None:
    found = lab.estimate(data, "users.member -> events.y")
    plain = lab.estimate(moody(lab, logged=False), "users.member -> events.y")
    assert found.estimate == plain.estimate
    assert any("doesn't help with users.member" in warning for warning in found.warnings)


def test_a_harsh_policy_is_clipped_and_said(lab: Lab) -> None:
    found = lab.estimate(moody(lab, rows=6_000, push=3.0), "items.sale -> events.y")
    assert any("are clipped" in warning for warning in found.warnings)
    assert found.ess <= 0.2 * found.n


def test_weights_by_hand() -> None:
    weighting = logged_weights(np.array([0.5, 0.25, 0.5, 0.75]), np.array([0, 1, 0, 1], np.int32))
    np.testing.assert_allclose(weighting.weight, np.array([1, 2, 1, 2 / 3]) / (14 / 12))
    assert (weighting.clipped, weighting.lost) == (0, 0.0)
    assert weighting.mean == pytest.approx(14 / 12)
    raw = np.r_[np.ones(97), 40.0, 60.0, 80.0]
    cut = clip_to_ess(raw)
    assert cut.ess == pytest.approx(MIN_ESS_SHARE * 100)
    assert cut.clipped == 3
    assert cut.cap * 2.77 == pytest.approx(38.2, abs=0.1)
    assert np.sort(clip_to_ess(raw, 0.05).weight)[-1] > np.sort(cut.weight)[-1]
    assert cut.weight.mean() == pytest.approx(1.0)


def test_propensities_that_are_none_are_doubted(lab: Lab) -> None:
    data = moody(lab, rows=4_000)
    data.events["propensity"] = np.minimum(2.5 * data.events["propensity"], 1.0)
    found = lab.estimate(data, "items.sale -> events.y")
    assert any("instead of 1" in warning for warning in found.warnings)
