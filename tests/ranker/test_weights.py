"""Only validated edges carry weight, shrunken as the equation says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import NameNotFound
from whyrank.estimators.estimate import Judgement
from whyrank.ranker import WEIGHT_COLUMNS, causal_weights, fit_weights

Make = Callable[..., Judgement]


def test_one_row_per_user_and_tested_attribute(world: Any, judgements: list[Judgement]) -> None:
    table = causal_weights(world.data, judgements)
    assert tuple(table.columns) == WEIGHT_COLUMNS
    assert len(table) == 120 * 7
    assert set(table["outcome"]) == {"events.dwell"}
    assert (table.loc[table["verdict"] != "validated", "weight"] == 0).all()
    assert table[["weight", "se"]].notna().all(axis=None)
    first = table[table["user_id"] == "u0000"]
    assert list(zip(first["attribute"], first["level"], first["verdict"], strict=True)) == [
        ("users.age", "", "validated"),
        ("items.free_shipping", "yes", "validated"),
        ("items.price", "", "validated"),
        ("items.brand", "plus", "inconclusive"),
        ("items.brand", "premium", "validated"),
        ("items.tags", "eco", "refuted"),
        ("events.display", "1", "validated"),
    ]


def test_weights_are_the_true_effects_for_each_kind_of_user(world: Any, judgements: list[Judgement]) -> None:
    table = causal_weights(world.data, judgements, outcome="dwell")
    shipping = table.loc[table["attribute"] == "items.free_shipping", "weight"].to_numpy(np.float64)
    np.testing.assert_allclose(shipping, 0.8 + 1.2 * world.data.users["new_user"], atol=1e-6)
    exposures = np.bincount(world.data.events["user"], minlength=len(shipping))
    plain = judgements[0].estimate.estimate
    assert np.average(shipping, weights=exposures) == pytest.approx(plain, abs=1e-6)


def test_shrinkage_follows_the_equation(world: Any, make_judgement: Make) -> None:
    judgements = [
        make_judgement("items.free_shipping -> events.dwell", 0.6, 0.2, level="yes"),
        make_judgement("items.price -> events.dwell", -0.1, 0.04),
    ]
    items = world.data.items
    scale = np.array([items["free_shipping"].std(ddof=0), items["price"].std(ddof=0)])
    effect, se = np.array([0.6, -0.1]), np.array([0.2, 0.04])
    tau2 = np.mean((scale * effect) ** 2 - (scale * se) ** 2)
    factor = tau2 / (tau2 + (scale * se) ** 2)
    table = causal_weights(world.data, judgements, outcome="dwell", users=["u0003"])
    np.testing.assert_allclose(table["weight"], factor * effect)
    np.testing.assert_allclose(table["se"], np.sqrt(factor) * se)
    assert (np.abs(table["weight"]) < np.abs(effect)).all()


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100))
def test_the_unit_of_an_attribute_does_not_matter(world: Any, make_judgement: Make, unit: float) -> None:
    def contribution(data: Any, factor: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        judgements = [
            make_judgement("items.free_shipping -> events.dwell", 0.6, 0.2, level="yes"),
            make_judgement("items.price -> events.dwell", -0.1 / factor, 0.04 / factor),
        ]
        weights = fit_weights(data, judgements)
        price = data.items["price"].to_numpy() - weights.terms[1].mean
        return np.asarray(weights.average[1] * price)

    scaled = dataclasses.replace(world.data, items=world.data.items.assign(price=world.data.items["price"] * unit))
    np.testing.assert_allclose(contribution(scaled, unit), contribution(world.data, 1.0), rtol=1e-9)


def test_a_modifier_counts_where_the_average_effect_is_not_validated(world: Any, make_judgement: Make) -> None:
    judgements = [
        make_judgement("items.price -> events.dwell", 0.01, 0.02, verdict="inconclusive"),
        make_judgement(
            "items.price -> events.dwell | users.region", 0.5, 1e-6, modifier_level="north", modifier_bracket=True
        ),
        make_judgement("items.price -> events.dwell | users.age", 0.5, 0.4, verdict="refuted"),
        make_judgement("items.price -> events.dwell | items.brand", 0.5, 0.01, modifier_level="plus"),
    ]
    table = causal_weights(world.data, judgements, outcome="dwell")
    north = (world.data.users["region"] == "north").to_numpy()
    weights = table["weight"].to_numpy()
    assert len(table) == 120
    assert set(table["verdict"]) == {"validated"}
    assert weights[north].min() - weights[~north].max() == pytest.approx(0.5, abs=1e-6)


def test_a_validated_claim_wins_over_the_opposite_one(world: Any, make_judgement: Make) -> None:
    up = make_judgement("items.price -> events.dwell", -0.1, sign="+", verdict="refuted")
    down = make_judgement("items.price -> events.dwell", -0.1, sign="-")
    for order in ([up, down], [down, up]):
        table = causal_weights(world.data, order, users=["u0000"])
        assert list(table["verdict"]) == ["validated"]


def test_the_order_of_judgements_does_not_matter(world: Any, judgements: list[Judgement]) -> None:
    backwards = causal_weights(world.data, judgements[::-1])
    pd.testing.assert_frame_equal(causal_weights(world.data, judgements), backwards)


def test_unknown_names(world: Any, make_judgement: Make) -> None:
    with pytest.raises(NameNotFound, match=r"no user 'u00001' in this study \(did you mean 'u0001'\?\)"):
        causal_weights(world.data, [], users=["u0001", "u00001"])
    with pytest.raises(NameNotFound, match="no outcome 'dwel'"):
        causal_weights(world.data, [], outcome="dwel")
    with pytest.raises(NameNotFound, match=r"no attribute 'items.prise'"):
        causal_weights(world.data, [make_judgement("items.prise -> events.dwell", 0.1)])


def test_no_verdicts_no_weights(world: Any) -> None:
    table = causal_weights(world.data, [])
    assert tuple(table.columns) == WEIGHT_COLUMNS
    assert table.empty
