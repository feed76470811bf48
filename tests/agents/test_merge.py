"""Duplicates and near-duplicates: nothing that was said is lost, and nothing is tested twice without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.agents.merge import merge_hypotheses, pool
from whyrank.agents.twins import Twins, find_twins
from whyrank.datasets.study_data import Attribute, Kind, StudyData
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError

PRICE = Edge("items.price", "events.click")
CLAIMS = (
    Hypothesis(PRICE),
    Hypothesis(PRICE, "-", "it costs more", ("items.brand",), source="llm", confidence=1.0, call_keys=("a", "b", "c")),
    Hypothesis(PRICE, "-", "it costs more", ("users.age",), source="llm", round=2, confidence=0.0, call_keys=("d",)),
    Hypothesis(PRICE, "", "dear things look good", source="file", likelihood=1.0, unmeasured=("taste",)),
)


def test_everything_that_was_said_of_an_edge_is_kept() -> None:
    merged = merge_hypotheses([*CLAIMS, Hypothesis(Edge("items.hue", "events.click"))])
    assert [len(members) for members in merged.members] == [4, 1]
    assert (merged.duplicates, merged.moved, merged.twins) == (3, (), ())
    h = merged.hypotheses[0]
    assert (h.edge, h.source, h.claimed_sign, h.round) == (PRICE, "llm", "-", 1)
    assert h.mechanism == "it costs more / dear things look good"
    assert h.confounders == ("items.brand", "users.age")
    assert h.call_keys == ("a", "b", "c", "d")
    assert h.confidence == pytest.approx(0.75), "votes weigh as many calls as were made for them"
    assert (h.likelihood, h.unmeasured) == (1.0, ("taste",))


@settings(max_examples=30, deadline=None)
@given(st.permutations(CLAIMS))
def test_whoever_spoke_first_says_the_same(shuffled: Sequence[Hypothesis]) -> None:
    assert pool(shuffled) == pool(CLAIMS)


def test_contradicting_signs_leave_no_claim() -> None:
    both = [CLAIMS[1], replace(CLAIMS[1], claimed_sign="+")]
    assert pool(both).claimed_sign == ""
    with pytest.raises(InputError, match="about 2 edges can't be pooled"):
        pool([CLAIMS[0], Hypothesis(Edge("items.hue", "events.click"))])


def test_twins_are_tested_once_under_a_name_that_was_proposed() -> None:
    twins = [Twins("items.price", "items.saving", "values", -1.0), Twins("items.a", "items.b", "words", 0.95)]
    cheap = Hypothesis(Edge("items.saving", "events.click"), "+", source="llm")
    merged = merge_hypotheses([cheap, CLAIMS[0], Hypothesis(Edge("items.b", "events.click"))], twins)
    assert [str(h.edge) for h in merged.hypotheses] == ["items.price -> events.click", "items.b -> events.click"]
    assert merged.hypotheses[0].claimed_sign == "-", "less saving is a higher price"
    assert merged.moved == ((cheap.edge, PRICE),)
    assert merged.twins == (twins[0],)
    alone = merge_hypotheses([cheap], twins)
    assert alone.hypotheses == (cheap,), "nobody proposed the other"
    assert alone.moved == ()


def test_an_edge_between_twins_is_no_edge() -> None:
    twins = [Twins("items.price", "items.cost", "values", 1.0)]
    between = Hypothesis(Edge("items.cost", "items.price"))
    modified = Hypothesis(Edge("items.price", "events.click", "items.cost"))
    merged = merge_hypotheses([between, modified], twins)
    assert merged.hypotheses == ()
    assert merged.moved == ((between.edge, None), (modified.edge, None))


@pytest.fixture
def doubled(shop: Callable[..., StudyData]) -> StudyData:
    """A study with a price in two currencies, its opposite, and a region under other names."""
    rng = np.random.default_rng(1)
    price = rng.gamma(4, 10, 60).round(2)
    region = rng.choice(["n", "s", "w"], 60)
    items = pd.DataFrame(
        {
            "price": price,
            "usd": price * 1.1,
            "saving": 100 - price,
            "noisy": price + rng.normal(0, 5, 60),
            "region": pd.Categorical(region),
            "zone": pd.Categorical(pd.Series(region).map({"n": "Z", "s": "A", "w": "B"})),
            "new": (price > 40).astype(float),
        }
    )
    kinds: dict[str, Kind] = {"region": "categorical", "zone": "categorical", "new": "binary"}
    columns = [str(c) for c in items]
    attributes = {
        f"items.{c}": Attribute(f"items.{c}", kinds.get(c, "numeric"), description=f"the {c}") for c in columns
    }
    return replace(shop(), items=items, attributes=attributes, users=pd.DataFrame(index=range(3)))


def test_columns_that_hold_the_same_values_are_found(doubled: StudyData) -> None:
    found = {(t.kept, t.other): t for t in find_twins(doubled)}
    assert set(found) == {
        ("items.price", "items.usd"),
        ("items.price", "items.saving"),
        ("items.region", "items.zone"),
    }
    assert found["items.price", "items.saving"].reversed
    assert not found["items.price", "items.usd"].reversed
    ignored = replace(doubled.attributes["items.price"], role="confounder")
    fewer = replace(doubled, attributes=doubled.attributes | {"items.price": ignored})
    assert ("items.usd", "items.saving") in {(t.kept, t.other) for t in find_twins(fewer)}


def test_columns_that_read_alike_are_told_and_not_merged(doubled: StudyData) -> None:
    angles = {"price": 0.0, "noisy": 0.2, "usd": 2.0, "saving": 2.1, "region": 4.0, "zone": 5.0, "new": 3.0}

    def embed(texts: Sequence[str]) -> list[tuple[float, float]]:
        assert texts[0] == "price: the price"
        return [(np.cos(angle), np.sin(angle)) for angle in (angles[text.split(":")[0]] for text in texts)]

    words = [t for t in find_twins(doubled, embed=embed) if not t.same]
    assert [(t.kept, t.other) for t in words] == [("items.price", "items.noisy")]
    edges = [Hypothesis(Edge(name, "events.click")) for name in ("items.price", "items.noisy")]
    assert len(merge_hypotheses(edges, words).hypotheses) == 2


@pytest.mark.parametrize(
    "twins", [Twins("a", "b", "values", 1.0), Twins("a", "b", "values", -1.0), Twins("a", "b", "words", 0.9)]
)
def test_it_is_said_in_both_languages(twins: Twins) -> None:
    english, chinese = twins.sentence("en"), twins.sentence("zh")
    assert "a and b" in english or "b holds" in english
    assert any(ord(c) > 0x4E00 for c in chinese)
