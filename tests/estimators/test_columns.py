"""Columns as shops have them: a thousand levels, orders, gaps, heavy tails; each in a world whose truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

    from whyrank.datasets.study_data import StudyData


def towns(lab: Lab, seed: int = 1, *, effect: float = 0.4, users: int = 4_000) -> StudyData:
    """Users of 1,000 towns: rich towns have more members and spend more, which is all that confounds membership."""
    rng = np.random.default_rng(seed)
    town = rng.integers(0, 1_000, users)
    wealth = rng.normal(size=1_000)
    member = (rng.random(users) < 1 / (1 + np.exp(-1.2 * wealth[town]))).astype(float)
    age = 0.5 * wealth[town] + rng.normal(size=users)
    rows = 4 * users
    user = np.sort(rng.integers(0, users, rows))
    item = rng.integers(0, 60, rows)
    y = effect * member[user] + 0.8 * wealth[town][user] + 0.1 * rng.normal(size=60)[item]
    y += 0.3 * rng.normal(size=users)[user] + 0.2 * age[user] + rng.normal(size=rows)
    return lab.study(
        {"member": member, "age": age, "town": [f"town {t}" for t in town]},
        {},
        {"user": user, "item": item, "y": y},
        n_users=users,
        n_items=60,
    )


@pytest.mark.parametrize("effect", [0.4, 0.0])
def test_a_confounder_of_a_thousand_levels(lab: Lab, effect: float) -> None:
    data = towns(lab, effect=effect)
    found = lab.estimate(data, "users.member -> events.y")
    assert abs(found.estimate - effect) <= 3 * found.se
    assert found.naive > effect + 0.4
    assert found.se < 0.06
    assert "users.town" in found.adjusted_for
    numeric = lab.estimate(data, "users.age -> events.y")
    assert abs(numeric.estimate - 0.2) <= 3 * numeric.se


def till(lab: Lab, tail: str, seed: int = 1, *, rows: int = 20_000, winsorise: float = 1.0) -> tuple[StudyData, float]:
    """Items on sale multiply what is spent: counts, ratings, log-normal and Pareto amounts; returns the true effect."""
    rng = np.random.default_rng(seed)
    items, users = 150, 800
    sale = (rng.random(items) < 0.5).astype(float)
    price = rng.normal(size=items)
    user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
    on, draw = sale[item] > 0, rng.random(rows)
    level = np.exp(0.05 * rng.normal(size=items))[item]
    noise = rng.normal(size=rows)
    if tail == "count":
        y, truth = rng.poisson(np.where(on, 1.5, 1.0) * level).astype(float), 0.5
    elif tail == "rating":
        y = np.clip(np.round(3 + 0.5 * on + noise), 1, 5)
        truth = rating_mean(3.5) - rating_mean(3.0)
    elif tail == "log-normal":
        y, truth = np.where(on, 1.5, 1.0) * level * np.exp(1.5 * noise), 0.5 * np.exp(1.125)
    else:
        y, truth = np.where(on, 1.5, 1.0) * level * (1 - draw) ** (-1 / 1.5), 0.5 * 3.0
    data = lab.study(
        {}, {"sale": sale, "price": price}, {"user": user, "item": item, "y": y}, n_users=users, winsorise=winsorise
    )
    return data, float(truth)


def rating_mean(centre: float) -> float:
    from scipy.stats import norm

    edges = np.array([1.5, 2.5, 3.5, 4.5])
    return float(5 - norm.cdf(edges - centre).sum())


@pytest.mark.parametrize("tail", ["count", "rating", "log-normal", "pareto"])
def test_outcomes_of_every_shape(lab: Lab, tail: str) -> None:
    data, truth = till(lab, tail)
    found = lab.estimate(data, "items.sale -> events.y")
    assert abs(found.estimate - truth) <= 3 * found.se
    none = lab.estimate(data, "items.price -> events.y")
    assert abs(none.estimate) <= 3 * none.se
    heavy = any("hang on few of them" in warning for warning in found.warnings)
    assert heavy == (tail in ("log-normal", "pareto"))


def test_winsorising_is_asked_for_and_said(lab: Lab) -> None:
    plain, truth = till(lab, "pareto")
    cut, _ = till(lab, "pareto", winsorise=0.99)
    before, after = (lab.estimate(d, "items.sale -> events.y") for d in (plain, cut))
    assert after.se < before.se / 2
    assert after.estimate < truth
    assert any("not the effect on their mean" in warning for warning in after.warnings)
    assert not any("not the effect on their mean" in warning for warning in before.warnings)


def gappy(lab: Lab, seed: int = 1) -> StudyData:
    """Gaps in cause and confounders that depend on what is missing; the cause also has a level that is rare."""
    rng = np.random.default_rng(seed)
    items, users, rows = 240, 300, 12_000
    price = rng.normal(size=items)
    sale = (rng.random(items) < 1 / (1 + np.exp(price))).astype(float)
    grade = np.array(["low", "mid", "high"])[np.clip((price + rng.normal(size=items) + 1.5).astype(int), 0, 2)]
    user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
    step = {"low": 0.0, "mid": 0.25, "high": 0.6}
    y = 0.3 * sale[item] - 0.4 * price[item] + np.array([step[g] for g in grade])[item]
    y += 0.1 * rng.normal(size=items)[item] + rng.normal(size=rows)
    shown = price.copy()
    shown[rng.random(items) < 0.15] = np.nan
    known = sale.copy()
    known[rng.random(items) < 0.1] = np.nan
    grades = [None if rng.random() < 0.1 else str(g) for g in grade]
    return lab.study(
        {},
        {"sale": known, "price": shown, "grade": grades},
        {"user": user, "item": item, "y": y},
        ordinal={"items.grade": ("low", "mid", "high")},
        reference={"items.grade": "low"},
        n_users=users,
    )


@pytest.mark.parametrize(("level", "truth"), [("mid", 0.25), ("high", 0.6)])
def test_an_ordinal_cause_with_gaps(lab: Lab, level: str, truth: float) -> None:
    found = lab.estimate(gappy(lab), "items.grade -> events.y", level)
    assert abs(found.estimate - truth) <= 3 * found.se


def test_a_nullable_cause_counts_where_it_is_known(lab: Lab) -> None:
    """Where the price is missing it can't be adjusted for: the effect is off by no more than those rows allow."""
    found = lab.estimate(gappy(lab), "items.sale -> events.y")
    assert abs(found.estimate - 0.3) <= 3 * found.se + 0.15 * 0.4 * 0.8
