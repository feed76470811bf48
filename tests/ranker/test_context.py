"""A context that differs by item: this week's plan of displays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from whyrank.datasets.read_table import read_table
from whyrank.datasets.study_data import Attribute
from whyrank.errors import InputError, NameNotFound
from whyrank.estimators.estimate import Judgement
from whyrank.ranker import Ranker, read_context


@pytest.fixture
def plan() -> pd.DataFrame:
    return pd.DataFrame({"item_id": ["i0003", "i0001", "i0002"], "display": [1, 0, None]})


def test_a_plan_moves_the_items_it_names(ranker: Ranker, plan: pd.DataFrame) -> None:
    without, planned = ranker.scores(["u0001"])[0], ranker.scores(["u0001"], context=plan)[0]
    place = ranker.data.item_index
    moved = planned - without
    assert moved[place["i0003"]] > 0 > moved[place["i0001"]]
    rest = np.delete(moved, [place["i0003"], place["i0001"]])
    assert np.allclose(rest, 0)  # not listed, or an empty cell: the log's mean
    alike = ranker.scores(["u0001"], context={"display": 1})[0]
    assert planned[place["i0003"]] == pytest.approx(alike[place["i0003"]], abs=1e-12)


def test_contributions_add_up_in_a_plan(ranker: Ranker, plan: pd.DataFrame) -> None:
    listed = ranker.recommend(["u0001"], k=40, include_seen=True, context=plan).set_index("item_id")
    for item in ("i0003", "i0001", "i0005"):
        explained = ranker.explain("u0001", item, context=plan)
        assert explained.base + sum(c.contribution for c in explained.contributions) == pytest.approx(
            listed.loc[item, "score"], abs=1e-9
        )
    assert any("display = 1" in reason for reason in ranker.reasons("u0001", "i0003", context=plan))
    everybody = ranker.recommend_all(40, include_seen=True, context=plan)
    mine = everybody[everybody["user_id"] == "u0001"].set_index("item_id")
    assert np.allclose(mine["score"], listed.loc[mine.index, "score"])


def test_who_responds_more_to_a_display_gets_more_from_the_plan(
    world: Any, judgements: list[Judgement], make_judgement: Callable[..., Judgement]
) -> None:
    more = make_judgement("events.display -> events.dwell | users.new_user", 0.2, 1e-6, level="1", modifier_level="1")
    ranker = Ranker(world.data, [*judgements, more])
    shown = np.random.default_rng(1).integers(0, 2, 40)
    plan = pd.DataFrame({"item_id": world.data.item_ids, "display": shown})
    new = world.data.users["new_user"].to_numpy()
    users = [str(world.data.user_ids[np.flatnonzero(new == value)[0]]) for value in (0, 1)]
    moved = ranker.scores(users, context=plan) - ranker.scores(users)
    assert np.ptp(moved[1]) - np.ptp(moved[0]) == pytest.approx(0.2, abs=1e-4)
    listed = ranker.recommend(users, k=7, include_seen=True, context=plan)
    for user in users:
        scores = ranker.scores([user], context=plan)[0]
        best = [str(world.data.item_ids[i]) for i in np.argsort(-scores, kind="stable")[:7]]
        assert list(listed.loc[listed["user_id"] == user, "item_id"]) == best
        explained = ranker.explain(user, best[0], context=plan)
        assert explained.score == scores.max()
        assert explained.base + sum(c.contribution for c in explained.contributions) == pytest.approx(scores.max())
        assert {c.modifier for c in explained.contributions if c.attribute == "events.display"} == {
            "",
            "users.new_user",
        }


@pytest.mark.parametrize(
    "context",
    [
        {"slots": "a|b"},
        {"events.slots": {"a", "b"}},
        pd.DataFrame({"item_id": ["i0001", "i0002"], "slots": [["a", "b"], None]}),
    ],
)
def test_a_context_of_several_values(world: Any, make_judgement: Callable[..., Judgement], context: Any) -> None:
    slots = pd.Series([("a", "b"), ("b",)] * (len(world.data.events) // 2), dtype=object)
    attribute = Attribute("events.slots", "set", levels=("a", "b"))
    data = dataclasses.replace(
        world.data,
        events=world.data.events.assign(slots=slots),
        attributes={**world.data.attributes, attribute.name: attribute},
    )
    effect = make_judgement("events.slots -> events.dwell", 0.2, 1e-6, level="a", bracket=True)
    explained = Ranker(data, [effect]).explain("u0001", "i0001", context=context)
    assert [(c.value, round(c.contribution, 6)) for c in explained.contributions] == [("a, b", 0.1)]
    with pytest.raises(InputError, match=r"'events\.slots' has no level 'c': expected one of 'a', 'b'"):
        Ranker(data, [effect]).scores(["u0001"], context={"slots": "a|c"})


def test_values_for_the_rest_fill_what_a_plan_leaves_open(ranker: Ranker, plan: pd.DataFrame) -> None:
    context = read_context(ranker.data, plan, {"display": 1})
    scores, alike = ranker.scores(["u0001"], context=context)[0], ranker.scores(["u0001"], context={"display": 1})[0]
    differs = np.flatnonzero(~np.isclose(scores, alike))
    assert differs.tolist() == [ranker.data.item_index["i0001"]]


@pytest.mark.parametrize(
    ("table", "error", "match"),
    [
        ({"item_id": ["i9999"], "display": [1]}, NameNotFound, "no item 'i9999'"),
        ({"item_id": ["i0001"], "displai": [1]}, NameNotFound, "did you mean 'events.display'"),
        ({"item_id": ["i0001", "i0001"], "display": [1, 0]}, InputError, "stands twice in the context: rows 1 and 2"),
        ({"thing": ["i0001"], "display": [1]}, InputError, "has no column of items"),
        ({"item_id": ["i0001"], "display": ["maybe"]}, InputError, "'maybe'.*item 'i0001'"),
        ({"item_id": ["i0001"], "display": [1], "events.display": [1]}, InputError, "'events.display' is given twice"),
        ({"item_id": [None], "display": [1]}, InputError, "row 1 of the context names no item"),
    ],
)
def test_a_plan_that_cannot_be_used_says_why(ranker: Ranker, table: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        ranker.scores(["u0001"], context=pd.DataFrame(table))


def test_a_plan_is_read_like_any_table(ranker: Ranker, tmp_path: Path) -> None:
    (tmp_path / "plan.csv").write_bytes("item_id;display\r\ni0003;1.0\r\ni0001;0\r\ni0002;\r\n".encode("utf-8-sig"))
    plan = read_table(tmp_path / "plan.csv")
    expected = pd.DataFrame({"item_id": ["i0003", "i0001"], "display": [1, 0]})
    assert np.allclose(ranker.scores(["u0001"], context=plan), ranker.scores(["u0001"], context=expected))
