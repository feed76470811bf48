"""Laws that hold for any small log: property tests of what must not change the numbers, or must change them so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

    from whyrank.estimators.estimate import Estimate

USERS, ITEMS, ROWS = 60, 40, 900
few = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 1_000)


def made(seed: int) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    price, age = rng.normal(size=ITEMS), rng.normal(size=USERS)
    sale = (rng.random(ITEMS) < 1 / (1 + np.exp(-0.7 * price))).astype(np.float64)
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    y = 0.4 * sale[item] - 0.3 * price[item] + 0.2 * age[user] + 0.2 * rng.normal(size=ITEMS)[item]
    brand = list(rng.permutation(np.repeat(["p", "q", "r", "s"], ITEMS // 4)))
    return {
        "users": {"age": age},
        "items": {"sale": sale, "price": price, "brand": brand},
        "events": {"user": user, "item": item, "y": y + rng.normal(size=ROWS)},
    }


def judged(lab: Lab, world: dict[str, dict[str, Any]], edge: str, level: str | None = None, **options: Any) -> Estimate:
    return lab.estimate(lab.study(world["users"], world["items"], world["events"], **options), edge, level)


@few
@given(seed=seeds, scale=st.sampled_from([0.001, 0.5, 1_000.0, -10.0]), shift=st.floats(-1_000, 1_000))
def test_the_unit_of_a_numeric_cause(lab: Lab, seed: int, scale: float, shift: float) -> None:
    world, edge = made(seed), "items.price -> events.y"
    before = judged(lab, world, edge)
    world["items"]["price"] = scale * world["items"]["price"] + shift
    after = judged(lab, world, edge)
    assert scale * after.estimate == pytest.approx(before.estimate, rel=1e-3, abs=1e-3 * before.se)
    assert abs(scale) * after.se == pytest.approx(before.se, rel=1e-3)
    assert after.p_value == pytest.approx(before.p_value, rel=1e-2, abs=1e-6)


@few
@given(seed=seeds, scale=st.sampled_from([0.01, 100.0]), shift=st.floats(-50, 50))
def test_the_unit_of_the_outcome(lab: Lab, seed: int, scale: float, shift: float) -> None:
    world, edge = made(seed), "items.sale -> events.y"
    before = judged(lab, world, edge)
    world["events"]["y"] = scale * world["events"]["y"] + shift
    after = judged(lab, world, edge)
    assert after.estimate / scale == pytest.approx(before.estimate, rel=1e-3, abs=1e-3 * before.se)
    assert after.se / scale == pytest.approx(before.se, rel=1e-3)


@few
@given(seed=seeds)
def test_level_and_reference_change_places(lab: Lab, seed: int) -> None:
    world = made(seed)
    before = judged(lab, world, "items.sale -> events.y")
    world["items"]["sale"] = 1 - world["items"]["sale"]
    after = judged(lab, world, "items.sale -> events.y")
    assert after.estimate == pytest.approx(-before.estimate, rel=1e-3, abs=1e-3 * before.se)
    assert after.p_value == pytest.approx(before.p_value, rel=1e-2, abs=1e-6)


@few
@given(seed=seeds)
def test_new_names_for_levels_in_the_same_order(lab: Lab, seed: int) -> None:
    world, edge = made(seed), "items.brand -> events.y"
    before = judged(lab, world, edge, "q", reference={"items.brand": "p"})
    world["items"]["brand"] = [f"new {brand}" for brand in world["items"]["brand"]]
    after = judged(lab, world, edge, "new q", reference={"items.brand": "new p"})
    assert after.estimate == pytest.approx(before.estimate, rel=1e-9)
    assert after.se == pytest.approx(before.se, rel=1e-9)


@few
@given(seed=seeds)
def test_contrasts_with_another_reference_are_differences(lab: Lab, seed: int) -> None:
    world, edge = made(seed), "items.brand -> events.y"
    p_q = judged(lab, world, edge, "q", reference={"items.brand": "p"})
    p_r = judged(lab, world, edge, "r", reference={"items.brand": "p"})
    q_r = judged(lab, world, edge, "r", reference={"items.brand": "q"})
    if {p_q.population, p_r.population, q_r.population} == {"all rows"}:
        assert q_r.estimate == pytest.approx(p_r.estimate - p_q.estimate, abs=0.5 * q_r.se)


@few
@given(seed=seeds)
def test_a_column_that_has_nothing_to_do_with_it(lab: Lab, seed: int) -> None:
    world, edge = made(seed), "items.sale -> events.y"
    before = judged(lab, world, edge)
    world["users"]["lucky"] = np.random.default_rng([seed, 1]).normal(size=USERS)
    after = judged(lab, world, edge)
    assert after.estimate == pytest.approx(before.estimate, abs=0.25 * before.se)


@few
@given(seed=seeds)
def test_a_column_twice(lab: Lab, seed: int) -> None:
    world, edge = made(seed), "items.sale -> events.y"
    before = judged(lab, world, edge)
    world["items"]["again"] = 3 * world["items"]["price"] - 1
    after = judged(lab, world, edge)
    assert after.estimate == pytest.approx(before.estimate, abs=0.25 * before.se)


@few
@given(seed=seeds)
def test_other_names_for_users_move_an_items_effect_by_nothing_but_noise(lab: Lab, seed: int) -> None:
    """Folds of items are dealt by item: who the users are called has no part in it."""
    world, edge = made(seed), "items.sale -> events.y"
    before = judged(lab, world, edge)
    new = np.random.default_rng([seed, 2]).permutation(USERS)
    world["users"]["age"] = world["users"]["age"][np.argsort(new)]
    world["events"]["user"] = new[world["events"]["user"]]
    after = judged(lab, world, edge)
    assert after.estimate == pytest.approx(before.estimate, rel=1e-5, abs=1e-4 * before.se)
    assert after.se == pytest.approx(before.se, rel=1e-4)
