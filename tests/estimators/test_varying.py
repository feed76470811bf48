"""Effects that vary between users: worlds whose theta(x) is known, and worlds without any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pytest

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.estimators.effects import aipw, partialling_out
from whyrank.estimators.held_out import choose, split_rows
from whyrank.estimators.heterogeneity import heterogeneity
from whyrank.estimators.modifiers import user_columns
from whyrank.estimators.pieces import modifier_rows, modifiers_of, pieces_of
from whyrank.estimators.varying import (
    Scores,
    fit_constant,
    fit_forest,
    fit_linear,
    learn_linear,
    picked_columns,
    scores_of,
)

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

Floats = npt.NDArray[np.float64]
Kind = Literal["none", "linear", "step"]

USERS, ITEMS, ROWS = 800, 80, 16_000


def world(
    kind: Kind, seed: int, *, numeric: bool = False, of_items: bool = True, appeal: float = 0.0, size: float = 0.3
) -> tuple[Scores, Floats, Floats]:
    """Rows of a randomised cause: their scores, the users' columns, and the true effect of each user.

    `appeal` : how much the items' own appeal depends on the users' columns, whatever the cause.
    """
    rng = np.random.default_rng(seed)
    user, item = (rng.integers(0, k, ROWS).astype(np.int32) for k in (USERS, ITEMS))
    X = np.column_stack([rng.normal(size=USERS), rng.random(USERS) < 0.4, rng.normal(size=(USERS, 2))])
    theta = {
        "none": np.full(USERS, 0.3),
        "linear": 0.3 + size * X[:, 0],
        "step": 0.3 + size * np.where(X[:, 0] > 0.5, 1.0, -0.5),
    }[kind]
    drawn = rng.normal(size=ITEMS if of_items else ROWS)
    t = drawn[item] if of_items else drawn
    t = t if numeric else (t > 0).astype(np.float64)
    y = (
        theta[user] * t
        + 0.3 * rng.normal(size=ITEMS)[item]
        + 0.5 * rng.normal(size=USERS)[user]
        + rng.normal(size=ROWS)
    )
    y += appeal * np.einsum("ij,ij->i", rng.normal(size=(ITEMS, 4))[item], X[user])
    if numeric:
        effect = partialling_out(y - y.mean(), t - t.mean(), float(t.var()))
    else:
        arm = t == 1
        share, m1, m0 = arm.mean(), y[arm].mean(), y[~arm].mean()
        effect = aipw(y, arm, ~arm, *(np.full(ROWS, v) for v in (share, 1 - share, m1, m0)))
    pair = np.unique(user.astype(np.int64) * ITEMS + item, return_inverse=True)[1].astype(np.int32)
    plain = scores_of(effect, user, USERS, {"users": user, "items": item}, pair, se=1.0, dof=70.0)
    influence = (plain.moment - plain.weight * plain.estimate) / plain.weight.mean()
    known = scores_of(effect, user, USERS, plain.ways, pair, se=plain.se_of(influence), dof=70.0)
    return known, X, theta


@pytest.mark.parametrize(("numeric", "of_items"), [(False, True), (True, True), (True, False)])
def test_linear_intervals_hold_the_truth(numeric: bool, of_items: bool) -> None:
    held = []
    for seed in range(25):
        scores, X, theta = world("linear", seed, numeric=numeric, of_items=of_items)
        stage = fit_linear(scores, X)
        held.append(np.mean(np.abs(stage.predict(X) - theta) <= 1.99 * stage.se(X)))
    assert 0.91 <= np.mean(held) <= 0.985


def test_forest_intervals_hold_the_truth_away_from_the_step() -> None:
    scores, X, theta = world("step", 3)
    stage = fit_forest(scores, X, np.random.default_rng(1))
    away = np.abs(X[:, 0] - 0.5) > 0.3
    off = stage.predict(X) - theta
    assert np.mean(np.abs(off) <= 1.99 * stage.se(X), where=away) >= 0.85
    assert np.sqrt(np.mean(off**2)) < 0.6 * theta.std()
    assert np.argmax(stage.importance) == 0


def test_every_second_stage_averages_to_the_edge_s_estimate() -> None:
    for numeric in (False, True):
        scores, X, _ = world("step", 5, numeric=numeric)
        weight = scores.per_user(scores.weight)
        for stage in (
            fit_constant(scores, X),
            fit_linear(scores, X),
            fit_linear(scores, X, sparse=True),
            fit_forest(scores, X, np.random.default_rng(1)),
        ):
            assert np.average(stage.predict(X), weights=weight) == pytest.approx(scores.estimate, abs=1e-9)


def test_the_linear_stage_is_the_regression_on_rows() -> None:
    scores, X, _ = world("linear", 6)
    Z = np.column_stack([np.ones(ROWS), X[scores.user]])
    rows = np.linalg.lstsq(Z, scores.moment, rcond=None)[0]
    stage = fit_linear(scores, X)
    np.testing.assert_allclose(stage.coefficients[1:], rows[1:], atol=2e-3)
    one = fit_linear(scores, np.zeros((USERS, 0)))
    assert one.se(np.zeros((1, 0)))[0] == pytest.approx(scores.se, rel=1e-9)


def test_the_second_stage_that_suits_the_world_is_chosen() -> None:
    rng = np.random.default_rng(0)
    chosen = {kind: [choose(*world(kind, seed)[:2], rng).chosen for seed in range(3)] for kind in ("none", "step")}
    assert chosen["none"] == ["constant"] * 3
    assert chosen["step"] == ["forest"] * 3
    scores, X, _ = world("linear", 1)
    choice = choose(scores, X, rng)
    assert choice.chosen in ("sparse", "linear")
    assert choice.losses[choice.chosen] < choice.losses["constant"]
    assert list(picked_columns(split_rows(scores, X, rng).learn_from(np.ones(USERS, bool), 0), X)) == [0]


def test_no_user_and_no_item_is_judged_by_what_it_taught() -> None:
    scores, X, _ = world("linear", 2)
    split = split_rows(scores, X, np.random.default_rng(4))
    for users, k, j in split.cells(sequential=True):
        assert not users[split.users >= k].any()
        learned = users[scores.user] & (split.items != j)
        tested = (split.users[scores.user] == k) & (split.items == j)
        assert not set(scores.user[learned]) & set(scores.user[tested])
        assert not set(scores.ways["items"][learned]) & set(scores.ways["items"][tested])
        assert split.learn_from(users, j).moment.sum() == pytest.approx(scores.moment[learned].sum())


@pytest.mark.parametrize("appeal", [0.0, 0.6])
def test_without_heterogeneity_the_tests_reject_at_their_level(appeal: float) -> None:
    """Items that appeal to users differently are no heterogeneity of the effect, and eighty items don't show any."""
    rejected = np.zeros(3)
    for seed in range(120):
        scores, X, _ = world("none", 2000 + seed, appeal=appeal)
        test = heterogeneity(scores, X, np.random.default_rng(seed), learner=learn_linear)
        rejected += [s.p_value < 0.05 for s in (test.calibration, test.autoc, test.qini)]
    assert (rejected / 120 <= 0.10).all(), rejected


def test_heterogeneity_is_found_calibrated_and_ranked() -> None:
    scores, X, theta = world("linear", 11)
    test = heterogeneity(scores, X, np.random.default_rng(1))
    assert max(s.p_value for s in (test.calibration, test.autoc, test.qini, test.top_less_bottom)) < 1e-3
    assert test.calibration.ci_low < 1 < test.calibration.ci_high
    assert [g.group for g in test.groups] == [1, 2, 3, 4, 5]
    assert sum(g.share for g in test.groups) == pytest.approx(1)
    # AUTOC and Qini of effects normal about their mean with standard deviation 0.3, perfectly ranked: 0.3 times
    # E[z(-ln v - 1)] = 0.903 and 0.3 times E[z(1/2 - v)] = 0.282.
    assert abs(test.autoc.estimate - 0.271) < 3 * test.autoc.se
    assert abs(test.qini.estimate - 0.0846) < 3 * test.qini.se
    assert test.curve["gain"].iloc[-1] == pytest.approx(0, abs=1e-9)
    true = np.sort(theta)
    assert abs(test.groups[-1].effect - true[-USERS // 5 :].mean()) < 4 * test.groups[-1].se


def test_equal_predictions_are_nothing_to_test() -> None:
    scores, X, _ = world("none", 1)
    test = heterogeneity(scores, X, np.random.default_rng(1), learner=lambda sums, x, rng: lambda o: np.ones(len(o)))
    assert np.isnan([test.calibration.p_value, test.autoc.p_value, test.qini.p_value]).all()
    assert len(test.groups) == 1
    assert test.groups[0].effect == pytest.approx(scores.estimate, abs=4 * scores.se)


def shop(lab: Lab, seed: int = 1) -> StudyData:
    """New users gain 0.5 from the offer, others nothing; price hurts the poor more."""
    rng = np.random.default_rng(seed)
    users, items, rows = 500, 60, 9_000
    user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
    new, income = (rng.random(users) < 0.4).astype(float), rng.normal(size=users)
    offer, price = (rng.random(items) < 0.5).astype(float), rng.normal(size=items)
    region = rng.choice(["north", "south"], users, p=[0.6, 0.4])
    y = 0.5 * (new[user] * offer[item]) - (0.4 - 0.2 * income[user]) * price[item] + 0.2 * income[user]
    income[:40] = np.nan
    return lab.study(
        {"new": new, "income": income, "region": list(region)},
        {"offer": offer, "price": price},
        {"user": user, "item": item, "y": y + rng.normal(size=rows)},
        graph=["items.offer -> users.region"],
    )


def test_modifiers_are_those_of_the_judge(lab: Lab) -> None:
    data = shop(lab)
    edge = Edge("items.offer", "events.y")
    (pieces,) = pieces_of(data, edge)
    names = modifiers_of(data, edge, pieces.panel)
    assert names == ["users.new", "users.income"]  # the graph says that region follows from the offer
    rows = {row.modifier: row for row in modifier_rows(pieces, names)}
    judged = lab.estimate(data, "items.offer -> events.y | users.new")
    row = rows["users.new"]
    assert (row.difference, row.se, row.p_value) == pytest.approx((judged.estimate, judged.se, judged.p_value))
    assert row.edge == judged.contrast.label
    assert abs(row.difference - 0.5) <= 3 * row.se
    assert row.p_adjusted < 0.01 < rows["users.income"].p_adjusted


def test_columns_of_users_missing_values_and_strangers(lab: Lab) -> None:
    data = shop(lab)
    attributes = [a for a in data.attributes.values() if a.table == "users"]
    columns = user_columns(data.users, attributes, np.ones(500))
    named = [(c.attribute.column, c.level, c.what) for c in columns.columns]
    assert named == [
        ("new", "", "value"),
        ("income", "", "value"),
        ("income", "", "missing"),
        ("region", "south", "level"),
    ]
    X = columns.encode(data.users)
    assert (X[:40, 1] == 0).all()
    assert (X[:40, 2] == 1).all()
    assert X[40:, 1].std() == pytest.approx(1)
    stranger = columns.encode(data.users[["new"]].iloc[:1])
    assert stranger.tolist() == [[X[0, 0], 0.0, 1.0, 0.0]]
