"""Popularity, smoothed, without the effects that the score adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from whyrank.estimators.estimate import Judgement
from whyrank.ranker import Ranker
from whyrank.ranker.base import popularity, purchase_popularity


def test_few_exposures_are_drawn_to_the_mean() -> None:
    rng = np.random.default_rng(3)
    worth = rng.normal(0, 1, 50)
    item = np.repeat(np.arange(49), [2 if i % 2 else 200 for i in range(49)])
    y = worth[item] + rng.normal(0, 2, len(item))
    base = popularity(item, y, np.zeros(len(y)), 50)
    raw = np.bincount(item, y) / np.bincount(item)
    centre = np.average(base[:49], weights=np.bincount(item))
    assert base[49] == pytest.approx(centre, abs=0.1)
    drawn = np.abs(base[:49] - base[49]) / np.abs(raw - base[49])
    assert drawn[1::2].max() < 0.6 < 0.9 < drawn[0::2].min()
    rare = np.arange(1, 49, 2)
    assert np.mean((base[rare] - worth[rare]) ** 2) < np.mean((raw[rare] - worth[rare]) ** 2)


def test_items_that_do_not_differ_get_the_same_base() -> None:
    rng = np.random.default_rng(4)
    item = np.tile(np.arange(30), 20)
    base = popularity(item, (rng.random(600) < 0.5).astype(float), np.zeros(600), 30)
    assert np.ptp(base) < 0.15
    assert np.array_equal(popularity(item, np.full(600, np.nan), np.zeros(600), 30), np.zeros(30))


def regret(ranker: Ranker, truth: Any, k: int = 5) -> float:
    """Return how far the true worth of the users' lists is from the best lists there are."""
    top = np.argsort(-ranker.scores(list(ranker.data.user_ids)), axis=1, kind="stable")[:, :k]
    best = -np.sort(-truth, axis=1)[:, :k]
    return float(best.mean() - np.take_along_axis(truth, top, axis=1).mean())


def test_counting_effects_once_ranks_better_than_twice_or_not_at_all(
    build_world: Callable[..., Any], judge_truly: Callable[..., list[Judgement]]
) -> None:
    once, twice, never = [], [], []
    for seed in range(8):
        world = build_world(seed, n_users=200, n_items=150, n_events=4000, own=0.5)
        judgements = judge_truly(world)
        once.append(regret(Ranker(world.data, judgements), world.truth))
        twice.append(regret(Ranker(world.data, judgements, net_base=False), world.truth))
        never.append(regret(Ranker(world.data, []), world.truth))
    assert np.mean(once) < 0.8 * np.mean(twice)
    assert np.mean(once) < 0.8 * np.mean(never)


def test_with_many_exposures_scores_differ_as_the_true_expectations_do(
    build_world: Callable[..., Any], judge_truly: Callable[..., list[Judgement]]
) -> None:
    world = build_world(1, n_events=40_000, n_items=20, own=0.5)
    scores = Ranker(world.data, judge_truly(world)).scores(list(world.data.user_ids))
    shown = np.bincount(world.data.events["item"], minlength=20) > 500
    error = (scores - world.truth)[:, shown]
    # what is the same for all items of a user is not in a score
    assert np.abs(error - error.mean(axis=1, keepdims=True)).max() < 0.08
    assert np.std(world.truth[:, shown], axis=1).min() > 0.4


def test_a_log_of_purchases_ranks_by_how_often_an_item_was_bought(build_world: Callable[..., Any]) -> None:
    data = build_world(kind="purchases").data
    ranker = Ranker(data, [], exclude_seen=False)
    bought = np.bincount(data.events["item"][data.events["dwell"] > 0], minlength=40)
    assert ranker.scale == "log-odds"
    assert ranker.recommend(["u0000"], k=1)["item_id"].item() == data.item_ids[bought.argmax()]
    np.testing.assert_array_equal(np.argsort(-ranker.base, kind="stable"), np.argsort(-bought, kind="stable"))


def test_purchases_count_by_share_beyond_what_attributes_predict() -> None:
    item = np.repeat(np.arange(4), [400, 200, 100, 0])
    plain = purchase_popularity(item, np.zeros(4), 4)
    assert list(np.argsort(-plain)) == [0, 1, 2, 3]
    assert np.isfinite(plain).all()
    explained = purchase_popularity(np.repeat(np.arange(3), [400, 200, 100]), np.log([4.0, 2.0, 1.0]), 3)
    np.testing.assert_array_equal(explained, np.zeros(3))
