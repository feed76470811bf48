"""Effects from purchases alone, against a world of choices whose log-odds are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from statsmodels.discrete.conditional_models import ConditionalLogit

from whyrank.estimators.choice import ChoiceRows, fit_choice
from whyrank.estimators.choice_panel import build_choice_panel
from whyrank.estimators.item_worth import fit_with_worth

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

    from whyrank.datasets.study_data import StudyData


def choices(
    lab: Lab, seed: int = 1, *, users: int = 500, items: int = 150, rows: int = 6_000, worth: float = 0.4, **more: Any
) -> StudyData:
    """Purchases by utility: sale +.5 (+.6 for the young), price -.3, brand b +.4 and c -.2 against a; tag x nothing.

    A low price goes with a sale; each item has a worth of its own that no column holds.
    """
    rng = np.random.default_rng(seed)
    price = rng.normal(size=items)
    sale = (rng.random(items) < 1 / (1 + np.exp(1.2 * price))).astype(float)
    brand = rng.choice(["a", "b", "c"], items, p=[0.5, 0.3, 0.2])
    tag = (rng.random(items) < 0.4).astype(float)
    young = (rng.random(users) < 0.4).astype(float)
    age = rng.normal(size=users)
    own = 0.5 * sale - 0.3 * price + 0.4 * (brand == "b") - 0.2 * (brand == "c") + worth * rng.normal(size=items)
    utility = own[None, :] + 0.6 * young[:, None] * sale[None, :] + 0.3 * age[:, None] * price[None, :]
    share = np.exp(utility)
    bounds = (share / share.sum(axis=1, keepdims=True)).cumsum(axis=1)
    user = np.sort(rng.integers(0, users, rows))
    item = np.minimum((rng.random(rows)[:, None] > bounds[user]).sum(axis=1), items - 1)
    return lab.study(
        {"young": young, "age": age},
        {"sale": sale, "price": price, "brand": list(brand), "tag": tag},
        {"user": user, "item": item, "purchase": np.ones(rows), "hour": rng.normal(size=rows)},
        outcomes=("purchase",),
        reference={"items.brand": "a"},
        kind="purchases",
        n_users=users,
        n_items=items,
        **more,
    )


@pytest.fixture(scope="module")
def data(lab: Lab) -> StudyData:
    return choices(lab)


@pytest.mark.parametrize(
    ("edge", "level", "truth"),
    [
        ("items.sale -> events.purchase", "1", 0.5 + 0.6 * 0.44),  # the young buy on sale a little more often
        ("items.price -> events.purchase", "", -0.3 + 0.3 * 0.05),
        ("items.brand -> events.purchase", "b", 0.4),
        ("items.brand -> events.purchase", "c", -0.2),
        ("items.tag -> events.purchase", "1", 0.0),
        ("items.sale -> events.purchase | users.young", "1", 0.6),
        ("items.price -> events.purchase | users.age", "", 0.3),
        ("items.sale -> events.purchase | items.tag", "1", 0.0),
    ],
)
def test_effects_of_a_world_of_choices(lab: Lab, data: StudyData, edge: str, level: str, truth: float) -> None:
    (found,) = [
        e
        for e in lab.estimates(data, edge)
        if (e.contrast.modifier_level if "|" in edge else e.contrast.level) == level
    ]
    assert abs(found.estimate - truth) <= 3 * found.se
    assert found.se < 0.2
    assert found.scale == "log-odds"
    assert found.estimator == "conditional logit"
    assert found.clusters == "users, items"
    assert any("exposures were not observed" in warning for warning in found.warnings)


def test_verdicts_on_choices(lab: Lab, data: StudyData) -> None:
    edges = [
        "items.price -> events.purchase | users.age",
        "items.sale -> events.purchase",
        "items.tag -> events.purchase",
    ]
    taste, sale, tag = lab.verdicts(data, *edges)
    assert sale.verdict == "validated", sale.reasons
    assert {c.name for c in sale.estimate.checks} >= {"overlap", "placebo", "sensitivity", "subset", "leave_one_out"}
    assert sale.estimate.naive > sale.estimate.estimate + sale.estimate.se
    assert tag.verdict != "validated"
    assert taste.verdict in ("validated", "inconclusive")


def test_what_a_log_of_purchases_cannot_tell(lab: Lab, data: StudyData) -> None:
    context, user = lab.verdicts(data, "users.young -> events.purchase", "events.hour -> events.purchase")
    assert user.verdict == context.verdict == "unidentifiable"
    assert "users.young is the same whatever is chosen" in user.reasons[0]
    assert "known only for what was bought" in context.reasons[0]
    (total,) = lab.estimates(data, "users.young -> users.purchase")
    assert total.grain == "user"
    assert np.isfinite(total.estimate)


def test_an_unmeasured_cause_and_a_twin_column(lab: Lab) -> None:
    hidden = choices(lab, rows=500, unmeasured=["items.quality -> items.sale, events.purchase"])
    assert "items.quality" in lab.estimate(hidden, "items.sale -> events.purchase").blocked
    data = choices(lab, rows=500)
    data.items["twin"] = data.items["sale"]
    data.attributes["items.twin"] = replace(data.attributes["items.sale"], name="items.twin")
    assert "determine the cause" in lab.estimate(data, "items.sale -> events.purchase").blocked


def test_a_level_that_nobody_bought(lab: Lab) -> None:
    data = choices(lab, rows=800)
    bought = np.bincount(data.events["item"], minlength=len(data.items))
    data.items["tag"] = (bought == 0).astype(float)
    found = lab.estimate(data, "items.tag -> events.purchase")
    assert "fewer than 5 times" in found.blocked


def test_items_that_nobody_knows_more_of_do_not_validate(lab: Lab) -> None:
    """Null attributes of items of very different popularity: few of them stand out at 5 %, as many as should."""
    rejected = [
        lab.estimate(choices(lab, seed, items=60, rows=1_500, users=200, worth=0.6), "items.tag -> events.purchase")
        for seed in range(30)
    ]
    assert sum(e.p_value < 0.05 for e in rejected) <= 5  # binomial(30, .05): 5 or fewer with probability .997


def test_the_fit_is_that_of_another_program() -> None:
    rng = np.random.default_rng(2)
    columns = rng.normal(size=(40, 3))
    items = np.array([rng.choice(40, 6, replace=False) for _ in range(300)], np.int32)
    utility = columns[items] @ [0.8, -0.5, 0.0] + rng.gumbel(size=items.shape)
    best = utility.argmax(axis=1)
    rows = np.arange(300)
    items[rows, best], items[:, 0] = items[:, 0].copy(), items[rows, best]
    choice = ChoiceRows(items, np.arange(300, dtype=np.int32), 40)
    fit = fit_choice(choice, columns)
    exog = columns[choice.item_of_row]
    other = ConditionalLogit(choice.bought, exog, groups=choice.choice_of_row).fit(disp=0)
    np.testing.assert_allclose(fit.beta, other.params, atol=1e-4)  # its optimiser stops earlier
    effect = fit.effect(0, 2.0)
    assert effect.estimate == pytest.approx(fit.beta[0] / 2.0)
    robust = float(np.sqrt(np.sum(np.add.reduceat(effect.influence, choice.indptr[:-1]) ** 2))) / len(effect.influence)
    assert robust == pytest.approx(other.bse[0] / 2.0, rel=0.25)
    doubled = fit_choice(choice, columns, np.column_stack([np.ones(300), rng.normal(size=300)]))
    assert np.allclose(doubled.beta[:3], fit.beta, atol=0.3)


def test_numbers_do_not_depend_on_the_other_edges(lab: Lab) -> None:
    data = choices(lab, rows=800)
    (alone,) = lab.estimates(data, "items.tag -> events.purchase")
    several = lab.estimates(data, "items.sale -> events.purchase | users.young", "items.tag -> events.purchase")
    assert repr(alone) in [repr(e) for e in several]


def test_profiles_and_these_items(lab: Lab) -> None:
    found = lab.estimate(choices(lab, rows=800, unit="profile"), "items.sale -> events.purchase")
    assert found.clusters == "purchases, items"
    found = lab.estimate(choices(lab, rows=800, scope="these items"), "items.sale -> events.purchase")
    assert found.clusters == "users"
    assert "speaks of the items in this log only" in found.warnings


@pytest.mark.parametrize("worth", [0.0, 0.5, 1.0])
def test_the_worth_of_items_is_found_and_does_not_count_twice(lab: Lab, worth: float) -> None:
    panel = build_choice_panel(choices(lab, worth=worth, rows=4_000), "events.purchase")
    columns = panel.adjustment("items.price", ("items.sale", "items.brand", "items.tag"))
    fit = fit_with_worth(panel.rows, panel.columns[:, columns])
    assert np.sqrt(fit.tau2) == pytest.approx(worth, abs=0.12)
    effect = fit.effect(1, 1.0)
    assert effect.influence @ np.ones(len(effect.influence)) / len(effect.influence) == pytest.approx(0.0, abs=0.01)
    if worth == 0:
        np.testing.assert_allclose(fit.beta, panel.fit(columns).beta, atol=0.02)


def test_sellers_too_many_for_a_column_each_are_compared_within(lab: Lab) -> None:
    """Good sellers put more on sale and sell more anyway: 120 sellers of three items each."""
    rng = np.random.default_rng(6)
    sellers, items, users, rows = 120, 360, 400, 8_000
    seller = np.repeat(np.arange(sellers), 3)
    good = rng.normal(size=sellers)
    sale = (rng.random(items) < 1 / (1 + np.exp(-1.5 * good[seller]))).astype(float)
    share = np.exp(0.4 * sale + 0.7 * good[seller] + 0.2 * rng.normal(size=items))
    item = rng.choice(items, rows, p=share / share.sum())
    data = lab.study(
        {},
        {"sale": sale, "seller": [f"seller {s}" for s in seller]},
        {"user": np.sort(rng.integers(0, users, rows)), "item": item, "purchase": np.ones(rows)},
        outcomes=("purchase",),
        kind="purchases",
        n_users=users,
        n_items=items,
    )
    found = lab.estimate(data, "items.sale -> events.purchase")
    assert abs(found.estimate - 0.4) <= 3 * found.se
    assert found.naive > 0.4 + 4 * found.se


def test_a_log_without_a_purchase_is_told(lab: Lab) -> None:
    data = choices(lab, rows=200)
    data.events["purchase"] = 0.0
    assert "events.purchase does not vary" in lab.estimate(data, "items.sale -> events.purchase").blocked
