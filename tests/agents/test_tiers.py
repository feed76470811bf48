"""What may cause what."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from whyrank.config import GraphConfig
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.tiers import allowed, outcome_totals, possible_causes, possible_modifiers
from whyrank.edge import Edge

Shop = Callable[..., StudyData]


@pytest.mark.parametrize(
    "edge",
    [
        "items.price -> events.click",
        "users.age -> events.spend",
        "events.position -> events.click",
        "users.age -> users.spend",
        "items.brand -> items.price",
        "items.price -> events.position",
        "users.age -> events.position",
        "items.price -> events.click | users.loyalty",
        "items.price -> events.click | items.season",
        "items.price -> events.click | events.position",
        "users.age -> users.click | users.region",
    ],
)
def test_edges_that_can_be_tested(shop: Shop, edge: str) -> None:
    assert allowed(Edge.parse(edge), shop()) == ""


@pytest.mark.parametrize(
    ("edge", "reason"),
    [
        ("users.age -> users.region", "only a numeric or binary attribute can be an effect"),
        ("items.season -> events.click", "is a confounder"),
        ("users.loyalty -> events.click", "is a modifier"),
        ("items.legacy -> events.click", "left out"),
        ("items.title -> events.click", "text column"),
        ("items.item_id -> events.click", "is a key"),
        ("events.ts -> events.click", "is a key"),
        ("events.click -> events.spend", "is an outcome"),
        ("users.click -> events.spend", "is an outcome"),
        ("items.pric -> events.click", "did you mean 'items.price'"),
        ("items.price -> events.clik", "did you mean 'events.click'"),
        ("items.price -> users.age", "does not come before"),
        ("users.age -> items.price", "does not come before"),
        ("events.position -> items.price", "does not come before"),
        ("items.price -> users.spend", "test 'events.spend'"),
        ("items.price -> items.legacy", "left out"),
        ("items.price -> events.click | items.legacy", "left out"),
        ("items.price -> events.click | events.spend", "is an outcome"),
        ("items.price -> events.click | users.agee", "did you mean 'users.age'"),
        ("users.age -> users.spend | events.position", "differs between the exposures"),
        ("users.age -> events.spend", "the study forbids"),
        ("items.brand -> items.price", ""),  # directly not, but by way of the season
        ("items.price -> items.brand", "would be a cycle"),
        ("events.position -> events.click | items.price", ""),
        ("items.brand -> events.click | items.price", "can't modify"),
    ],
)
def test_edges_that_cannot_say_why(shop: Shop, edge: str, reason: str) -> None:
    graph = GraphConfig(
        edges=(Edge("items.brand", "items.season"), Edge("items.season", "items.price")),
        forbidden=(Edge("users.age", "events.spend"), Edge("items.brand", "items.price")),
    )
    said = allowed(Edge.parse(edge), shop(graph=graph))
    assert reason in said
    assert bool(said) == bool(reason)


def test_lists_follow_the_rule_and_the_study_s_order(shop: Shop) -> None:
    data = shop()
    assert outcome_totals(data) == ("users.click", "users.spend")
    assert [a.name for a in possible_causes(data)] == [
        "users.new_user", "users.age", "users.region", "items.price", "items.free_shipping", "items.brand",
        "events.position",
    ]  # fmt: skip
    assert "users.loyalty" in [a.name for a in possible_modifiers("items.price", "events.click", data)]
