"""Alternatives of purchases: uniform, distinct, available at the time, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from whyrank.config import EventsConfig, ItemsConfig, StudyConfig, UsersConfig
from whyrank.datasets import alternatives
from whyrank.datasets.alternatives import sample_alternatives
from whyrank.datasets.study_data import Outcome, StudyData


def log(item: Any, n_items: int, *, times: Any = None, listed: Any = None, delisted: Any = None) -> StudyData:
    items = pd.DataFrame(index=pd.RangeIndex(n_items))
    dates: dict[str, str] = {}
    for key, values in (("available_from", listed), ("available_to", delisted)):
        if values is not None:
            items[key] = pd.to_datetime(values, format="ISO8601").to_numpy().astype("datetime64[us]")
            dates[key] = key
    events = pd.DataFrame(
        {"user": np.zeros(len(item), np.int32), "item": np.asarray(item, np.int32), "purchase": np.ones(len(item))}
    )
    if times is not None:
        events["time"] = pd.to_datetime(times, format="ISO8601").to_numpy().astype("datetime64[us]")
    config = StudyConfig(
        path="whyrank.toml",  # type: ignore[arg-type]
        users=UsersConfig(path="u", key="u"),
        items=ItemsConfig.model_validate({"path": "i", "key": "i", **dates}),
        events=EventsConfig(path="e", user="u", item="i", time="t" if times is not None else None, kind="purchases"),
    )
    return StudyData(
        config=config,
        path=config.path,
        users=pd.DataFrame(index=pd.RangeIndex(1)),
        items=items,
        events=events,
        user_ids=np.array(["u"], object),
        item_ids=np.array([f"i{i}" for i in range(n_items)], object),
        attributes={},
        outcomes={"events.purchase": Outcome("events.purchase", "probability")},
        texts=(),
        findings=(),
        dropped={},
        fingerprint="",
    )


def test_alternatives_are_distinct_uniform_and_never_what_was_bought() -> None:
    data = log(np.full(4_000, 7), 30)
    sets = sample_alternatives(data, np.arange(4_000), rng=np.random.default_rng(1), per_purchase=6)
    assert sets.items.shape == (4_000, 7)
    assert (sets.items[:, 0] == 7).all()
    ordered = np.sort(sets.items, axis=1)
    assert (np.diff(ordered, axis=1) > 0).all()
    counts = np.bincount(sets.items[:, 1:].ravel(), minlength=30)
    assert counts[7] == 0
    expected = 4_000 * 6 / 29
    others = np.delete(counts, 7)
    assert np.sum((others - expected) ** 2 / expected) < 28 + 4 * np.sqrt(2 * 28)
    again = sample_alternatives(data, np.arange(4_000), rng=np.random.default_rng(1), per_purchase=6)
    assert np.array_equal(sets.items, again.items)


def test_only_what_was_available_at_the_time() -> None:
    listed = ["2024-01-01", "2024-01-10", None, "2024-02-01", "2024-01-01"]
    delisted = [None, "2024-01-20", None, None, "2024-01-05"]
    times = ["2024-01-05 23:00", "2024-01-20 12:00", "2024-03-01", None]
    data = log([0, 0, 0, 0], 5, times=times, listed=listed, delisted=delisted)
    sets = sample_alternatives(data, np.arange(4), rng=np.random.default_rng(1))
    found = [set(row[row >= 0].tolist()) - {0} for row in sets.items]
    assert found == [{2, 4}, {1, 2}, {2, 3}, {1, 2, 3, 4}]  # a day counts until its end; without a time, everything
    assert sets.complete
    assert sets.contradicted == 0


def test_a_purchase_against_the_dates_counts_and_is_counted() -> None:
    data = log([1, 1], 3, times=["2024-01-01", "2024-03-01"], listed=[None, "2024-02-01", None])
    sets = sample_alternatives(data, np.arange(2), rng=np.random.default_rng(1))
    assert sets.contradicted == 1
    assert sets.items.tolist() == [[1, 0, 2], [1, 0, 2]]


def test_a_purchase_without_alternatives_is_left_out() -> None:
    data = log([0, 0], 2, times=["2024-01-01", "2024-03-01"], listed=[None, "2024-02-01"])
    sets = sample_alternatives(data, np.arange(2), rng=np.random.default_rng(1))
    assert sets.alone == 1
    assert sets.rows.tolist() == [1]


def test_of_a_large_log_some_purchases_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alternatives, "MAX_PURCHASES", 100)
    data = log(np.arange(500) % 9, 9)
    sets = sample_alternatives(replace(data), np.arange(500), rng=np.random.default_rng(1))
    assert len(sets.rows) == 100
    assert sets.purchases == 500
    assert np.array_equal(sets.items[:, 0], sets.rows % 9)
