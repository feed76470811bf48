"""Scores are base plus contributions; lists are exact; what was seen stays out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.errors import InputError, NameNotFound, WhyRankWarning
from whyrank.estimators.estimate import Judgement
from whyrank.ranker import RECOMMEND_COLUMNS, Ranker

Make = Callable[..., Judgement]


def brute_force(ranker: Ranker, user: str, k: int, seen: set[str]) -> list[str]:
    """Sort every item of one user by score, ties by position."""
    scores = ranker.scores([user])[0]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return [ids for i in order if (ids := str(ranker.data.item_ids[i])) not in seen][:k]


def liked(data: Any, user: str, outcome: str) -> set[str]:
    """Return the items with a positive outcome for the user."""
    events = data.events[(data.events["user"] == data.user_index[user]) & (data.events[outcome] > 0)]
    return {str(data.item_ids[i]) for i in events["item"]}


@settings(max_examples=40, deadline=None)
@given(st.data(), st.floats(-3, 3), st.sampled_from([None, {"display": 1}, {"events.display": "0"}]))
def test_contributions_add_up(
    world: Any, judge_truly: Callable[..., list[Judgement]], data: st.DataObject, strength: float, context: Any
) -> None:
    ranker = Ranker(world.data, judge_truly(world, se=0.05), strength=strength)
    user = data.draw(st.sampled_from(list(world.data.user_ids)))
    item = data.draw(st.sampled_from(list(world.data.item_ids)))
    explained = ranker.explain(user, item, context=context)
    assert explained.score == pytest.approx(
        explained.base + sum(c.contribution for c in explained.contributions), abs=1e-9
    )
    for c in explained.contributions:
        assert c.contribution == pytest.approx(strength * c.weight * (c.h - c.mean_h), abs=1e-9)
        assert c.verdict == "validated"
    listed = ranker.recommend([user], k=40, include_seen=True, context=context).set_index("item_id")
    assert listed.loc[item, "score"] == pytest.approx(explained.score, abs=1e-12)
    assert listed.loc[item, "causal"] == pytest.approx(explained.causal, abs=1e-12)


@pytest.mark.parametrize("outcome", ["dwell", "events.click"])
@pytest.mark.parametrize("include_seen", [True, False])
def test_lists_are_those_of_a_full_sort(world: Any, make_judgement: Make, outcome: str, include_seen: bool) -> None:
    effect = "events.click" if outcome == "events.click" else "events.dwell"
    judgements = [
        make_judgement(f"items.free_shipping -> {effect}", 0.2, level="yes"),
        make_judgement(f"items.free_shipping -> {effect} | users.age", 0.01, 0.001, level="yes"),
    ]
    ranker = Ranker(world.data, judgements, outcome=outcome)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WhyRankWarning)
        table = ranker.recommend_all(7, include_seen=include_seen)
    for user in world.data.user_ids:
        seen = set() if include_seen else liked(world.data, user, effect.removeprefix("events."))
        mine = table[table["user_id"] == user]
        assert list(mine["item_id"]) == brute_force(ranker, user, 7, seen)
        assert list(mine["rank"]) == list(range(1, len(mine) + 1))


def test_recommendations_keep_the_order_of_users_and_their_columns(ranker: Ranker) -> None:
    table = ranker.recommend(["u0009", "u0002", "u0009"], k=3, include_seen=True)
    assert tuple(table.columns) == RECOMMEND_COLUMNS
    assert list(table["user_id"]) == ["u0009"] * 3 + ["u0002"] * 3
    np.testing.assert_array_equal(table["score"], table["base"] + table["causal"])
    pd.testing.assert_frame_equal(ranker.recommend("u0002", k=3), ranker.recommend(["u0002"], k=3))


def test_equal_items_are_ranked_by_position(build_world: Callable[..., Any], make_judgement: Make) -> None:
    data = build_world(n_items=500, n_events=10).data
    ranker = Ranker(data, [make_judgement("items.free_shipping -> events.dwell", 0.5, level="yes")], strength=0.3)
    data = dataclasses.replace(data, events=data.events.iloc[:0])
    ranker = Ranker(data, [make_judgement("items.free_shipping -> events.dwell", 0.5, level="yes")], strength=0.3)
    carried = np.flatnonzero(data.items["free_shipping"] == 1)[:20]
    assert list(ranker.recommend(["u0000"], k=20)["item_id"]) == [str(data.item_ids[i]) for i in carried]


def test_a_user_who_saw_everything_gets_nothing_and_a_warning(world: Any, judgements: list[Judgement]) -> None:
    everything = pd.DataFrame({"user": 0, "item": np.arange(40), "dwell": 1.0, "click": 1.0, "display": 0.0})
    data = dataclasses.replace(world.data, events=pd.concat([world.data.events, everything], ignore_index=True))
    ranker = Ranker(data, judgements)
    with pytest.warns(WhyRankWarning, match=r"1 users have no item left to recommend \('u0000'\)"):
        table = ranker.recommend(["u0000", "u0001"], k=5)
    assert set(table["user_id"]) <= {"u0001"}
    assert len(ranker.recommend(["u0000"], k=5, include_seen=True)) == 5


def test_only_validated_edges_move_the_ranking(world: Any, judgements: list[Judgement], make_judgement: Make) -> None:
    plain = Ranker(world.data, [])
    doubtful = [make_judgement("items.price -> events.dwell", 5.0, verdict=v) for v in ("refuted", "inconclusive")]
    np.testing.assert_array_equal(Ranker(world.data, doubtful).scores(["u0001"]), plain.scores(["u0001"]))
    # what is the same for all items of a user is no part of a score; it only cleans popularity of who saw an item
    of_the_user = Ranker(world.data, [make_judgement("users.age -> events.dwell", 0.05)])
    assert of_the_user.explain("u0001", "i0003").contributions == ()
    assert (of_the_user.recommend(["u0001"], include_seen=True)["causal"] == 0).all()
    strengthless = Ranker(world.data, judgements, strength=0.0)
    np.testing.assert_array_equal(strengthless.scores(["u0001"]), plain.scores(["u0001"]))


def test_context_moves_all_items_alike_and_only_when_passed(ranker: Ranker) -> None:
    without, with_display = ranker.scores(["u0001"]), ranker.scores(["u0001"], context={"display": "1"})
    mean = ranker.data.events["display"].mean()
    np.testing.assert_allclose(with_display - without, 0.3 * (1 - mean), atol=1e-6)
    with pytest.raises(NameNotFound, match=r"no context attribute 'displai' .*did you mean 'events.display'"):
        ranker.scores(["u0001"], context={"displai": 1})
    with pytest.raises(InputError, match=r"'events\.display' has no level '2': expected one of '0', '1'"):
        ranker.recommend(["u0001"], context={"display": 2})


def test_new_users_are_ranked_by_their_attributes(world: Any, ranker: Ranker) -> None:
    newcomers = pd.DataFrame({"user_id": ["a", "b", "c"], "new_user": ["1", "no", None]})
    table = ranker.recommend(newcomers, k=40, include_seen=True)
    old = str(world.data.user_ids[np.flatnonzero(world.data.users["new_user"] == 1)[0]])
    known = ranker.recommend([old], k=40, include_seen=True)
    assert list(table.loc[table["user_id"] == "a", "item_id"]) == list(known["item_id"])
    explained = ranker.explain({"new_user": True}, "i0003")
    assert explained.score == pytest.approx(known.set_index("item_id").loc["i0003", "score"])
    with pytest.raises(NameNotFound, match=r"no user attribute 'newuser' in this study \(did you mean 'new_user'\?\)"):
        ranker.recommend(newcomers.rename(columns={"new_user": "newuser"}))


def test_a_missing_value_contributes_nothing(world: Any, ranker: Ranker) -> None:
    missing = str(world.data.item_ids[np.flatnonzero(world.data.items["price"].isna())[0]])
    price = next(c for c in ranker.explain("u0001", missing).contributions if c.attribute == "items.price")
    assert (price.contribution, price.value) == (0.0, "missing")
    assert not any("price" in sentence for sentence in ranker.reasons("u0001", missing))


def test_reasons_say_what_raises_and_what_lowers(ranker: Ranker) -> None:
    told = ranker.reasons("u0001", "i0003", context={"display": 1})
    explained = ranker.explain("u0001", "i0003", context={"display": 1})
    assert told == explained.sentences("en")
    assert len(told) == sum(c.contribution != 0 for c in explained.contributions) + 1
    sizes = [abs(c.contribution) for c in explained.contributions]
    assert sizes == sorted(sizes, reverse=True)
    assert "display = 1 raises dwell by 0.149 against an average exposure (validated)." in told
    assert told[-1].startswith("Apart from these attributes, the item's popularity counts ")
    basic = next(
        str(i) for i, brand in zip(ranker.data.item_ids, ranker.data.items["brand"], strict=True) if brand == "basic"
    )
    assert any("brand = basic, not premium, lowers dwell by" in s for s in ranker.reasons("u0001", basic))


def test_reasons_are_told_in_the_language_of_the_study(
    build_world: Callable[..., Any], judge_truly: Callable[..., list[Judgement]]
) -> None:
    world = build_world(language="zh")
    assert all(s.endswith("。") for s in Ranker(world.data, judge_truly(world)).reasons("u0001", "i0003"))


def test_a_column_of_scores_as_base(world: Any) -> None:
    ranker = Ranker(world.data, [], base="score")
    np.testing.assert_array_equal(ranker.scores(["u0001"])[0], world.data.items["score"])
    with pytest.warns(WhyRankWarning, match="items have no score in 'items.price'"):
        Ranker(world.data, [], base="items.price")


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("als", r"the base 'als' is not available in this version: expected 'popularity' or a numeric column of items"),
        ("brand", "must be a column of numbers, got category"),
        ("populrity", "did you mean 'popularity'"),
    ],
)
def test_bases_that_are_not_there(world: Any, base: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ranker(world.data, [], base=base)


def test_the_example_in_the_docs_runs(
    world: Any, judgements: list[Judgement], capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "ranker.md").read_text()
    code = text.split("```python\n")[1].partition("```")[0]
    names: dict[str, Any] = {"data": world.data, "judgements": judgements}
    exec(code, names)
    assert list(names["best"]["rank"]) == [*range(1, 11), *range(1, 11)]
    assert len(names["newcomer"]) == 3
    told = capsys.readouterr().out
    assert "display = 1 raises dwell by 0.149 against an average exposure (validated)." in told
    quoted = text.partition("average item: `")[2].partition("`")[0].replace("\n", " ")
    assert quoted in told


def test_bad_calls(ranker: Ranker) -> None:
    for k in (0, -1, 2.5, True):
        with pytest.raises(InputError, match="k must be a positive whole number"):
            ranker.recommend(["u0001"], k=k)  # type: ignore[arg-type]
    with pytest.raises(NameNotFound, match=r"no item 'i00003' in this study \(did you mean"):
        ranker.explain("u0001", "i00003")
    with pytest.raises(NameNotFound, match="no user 'nobody' in this study"):
        ranker.recommend(["nobody"])
    with pytest.raises(InputError, match="strength must be a finite number, got nan"):
        Ranker(ranker.data, [], strength=float("nan"))
    assert ranker.recommend([]).empty
