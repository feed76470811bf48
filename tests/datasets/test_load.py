"""A study in memory: types, order, fingerprint; the same whatever the order of rows and the kind of file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whyrank.datasets import StudyData, check_study, load_study
from whyrank.errors import DataError, NameNotFound

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def _assert_same(first: StudyData, second: StudyData) -> None:
    for name in ("users", "items", "events"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
    assert first.user_ids.tolist() == second.user_ids.tolist()
    assert first.item_ids.tolist() == second.item_ids.tolist()
    assert first.attributes == second.attributes
    assert first.outcomes == second.outcomes
    assert first.dropped == second.dropped
    assert first.fingerprint == second.fingerprint


def test_types_of_a_shop(shop: Any, tmp_path: Path) -> None:
    data = load_study(shop.write(tmp_path))
    kinds = {name: (a.kind, a.levels, a.reference) for name, a in data.attributes.items()}
    frequent = shop.users["region"].value_counts()
    assert list(kinds) == [
        "users.age", "users.region", "users.member",
        "items.price", "items.brand", "items.sale", "items.genres",
        "events.device", "events.position",
    ]  # fmt: skip
    assert kinds["users.age"] == ("numeric", (), "")
    assert kinds["users.region"][:2] == ("categorical", ("north", "south", "west"))
    assert frequent[kinds["users.region"][2]] == frequent.max()
    assert kinds["users.member"] == ("binary", ("no", "yes"), "no")
    assert kinds["items.sale"] == ("binary", ("0", "1"), "0")
    assert kinds["items.genres"] == ("set", ("x", "y", "z"), "")
    assert data.attribute("users.age").missing == shop.users["age"].isna().sum()
    assert data.attribute("items.brand").missing == shop.items["brand"].isna().sum()
    assert data.items["genres"].tolist()[0] == tuple(sorted(set(filter(None, shop.items["genres"][0].split("|")))))
    np.testing.assert_allclose(data.items["price"], shop.items.sort_values("item_id")["price"], rtol=0, atol=0)
    assert data.items["title"].tolist() == shop.items.sort_values("item_id")["title"].tolist()
    assert data.items["listed"].dtype.kind == "M"
    assert data.users["member"].tolist() == (shop.users["member"] == "yes").astype(float).tolist()
    assert data.texts == ("title",)
    assert [o.scale for o in data.outcomes.values()] == ["probability", "mean"]
    assert list(data.events.columns) == [
        "user", "item", "time", "click", "dwell", "device", "position", "propensity",
    ]  # fmt: skip
    assert data.events["user"].dtype == data.events["item"].dtype == np.int32
    with pytest.raises(NameNotFound, match=r"no attribute 'items\.prize' .*'items\.price'"):
        data.attribute("items.prize")


def test_rows_are_the_rows_of_the_file(shop: Any, tmp_path: Path) -> None:
    data = load_study(shop.write(tmp_path))
    back = pd.DataFrame(
        {
            "user_id": data.user_ids[data.events["user"]].astype(int),
            "item_id": data.item_ids[data.events["item"]],
            "ts": data.events["time"].dt.strftime("%Y-%m-%d"),
            "dwell": data.events["dwell"],
            "propensity": data.events["propensity"],
        }
    )
    by = list(back.columns)
    left = back.sort_values(by, ignore_index=True)
    right = shop.events[by].sort_values(by, ignore_index=True)
    pd.testing.assert_frame_equal(left, right, check_dtype=False)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), order=st.randoms(use_true_random=False))
def test_row_order_does_not_matter(
    seed: int, order: Any, new_shop: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shop = new_shop(seed=seed, rows=120)
    shop.events.loc[:3, "user_id"] = 7
    first = load_study(shop.write(tmp_path_factory.mktemp("first")))
    for name in ("users", "items", "events"):
        frame = getattr(shop, name)
        rows = list(range(len(frame)))
        order.shuffle(rows)
        setattr(shop, name, frame.iloc[rows])
    second = load_study(shop.write(tmp_path_factory.mktemp("second")))
    _assert_same(first, second)
    assert first.dropped == {"events: unknown user_id": 4}


@pytest.mark.parametrize("kind", ["gz", "parquet", "duckdb", "sqlite"])
def test_kind_of_file_does_not_matter(
    kind: Literal["gz", "parquet", "duckdb", "sqlite"], shop: Any, tmp_path: Path
) -> None:
    _assert_same(load_study(shop.write(tmp_path / "csv")), load_study(shop.write(tmp_path / kind, kind)))


def test_parquet_types(shop: Any, tmp_path: Path) -> None:
    plain = load_study(shop.write(tmp_path / "csv"))
    shop.users["member"] = shop.users["member"] == "yes"
    shop.users["region"] = shop.users["region"].astype("category")
    shop.items["genres"] = [text.split("|") if text else [] for text in shop.items["genres"]]
    shop.items["listed"] = pd.to_datetime(shop.items["listed"]).dt.date
    shop.events["user_id"] = shop.events["user_id"].astype(float)
    shop.events["ts"] = pd.to_datetime(shop.events["ts"]).dt.tz_localize("UTC").dt.tz_convert("Asia/Shanghai")
    typed = load_study(shop.write(tmp_path / "parquet", "parquet"))
    assert typed.attribute("users.member").levels == ("false", "true")
    pd.testing.assert_frame_equal(plain.events, typed.events)
    pd.testing.assert_frame_equal(plain.items, typed.items)
    pd.testing.assert_frame_equal(plain.users, typed.users)


def test_fingerprint_follows_content_and_meaning(shop: Any, tmp_path: Path) -> None:
    first = load_study(shop.write(tmp_path / "a")).fingerprint
    shop.toml = "# a comment\n" + shop.toml.replace(" = ", "=")
    assert load_study(shop.write(tmp_path / "b")).fingerprint == first
    shop.more = "[validation]\nsmallest_effect = 0.01\n"
    assert load_study(shop.write(tmp_path / "c")).fingerprint != first
    shop.more = ""
    shop.events.loc[0, "click"] = 1 - shop.events.loc[0, "click"]
    assert load_study(shop.write(tmp_path / "d")).fingerprint != first


def test_what_the_study_says_wins(shop: Any, tmp_path: Path) -> None:
    shop.users["level"] = np.tile([1, 2, 3], 10)
    shop.more = """
[attributes."users.region"]
reference = "west"
description = "where they live"
role = "modifier"
[attributes."users.level"]
kind = "ordinal"
levels = [3, 1, 2, 4]
[attributes."items.sale"]
kind = "categorical"
[attributes."users.member"]
reference = "yes"
[attributes."items.genres"]
kind = "categorical"
"""
    data = load_study(shop.write(tmp_path))
    region = data.attribute("users.region")
    assert (region.reference, region.description, region.role) == ("west", "where they live", "modifier")
    level = data.attribute("users.level")
    assert (level.kind, level.levels, level.reference) == ("ordinal", ("3", "1", "2", "4"), "3")
    assert data.users["level"].cat.ordered
    assert data.attribute("items.sale").kind == "categorical"
    assert data.attribute("users.member").levels == ("yes", "no")
    assert data.users["member"].tolist() == (shop.users["member"] == "no").astype(float).tolist()
    assert data.attribute("items.genres").kind == "categorical"


def test_ties_take_the_first_level(shop: Any, tmp_path: Path) -> None:
    shop.users["region"] = np.tile(["south", "north", "east"], 10)
    assert load_study(shop.write(tmp_path)).attribute("users.region").reference == "east"


def test_constant_attribute_is_kept_and_ignored(shop: Any, tmp_path: Path) -> None:
    shop.items["sale"] = 1
    data = load_study(shop.write(tmp_path))
    assert data.attribute("items.sale").role == "ignore"
    assert data.items["sale"].tolist() == [1.0] * 20


def test_purchases_need_no_outcome_column(shop: Any, tmp_path: Path) -> None:
    shop.toml = shop.toml.replace('outcomes = ["click", "dwell"]', 'kind = "purchases"')
    data = load_study(shop.write(tmp_path))
    assert list(data.outcomes) == ["events.purchase"]
    assert data.events["purchase"].eq(1.0).all()


def test_scores_for_the_ranker(shop: Any, tmp_path: Path) -> None:
    shop.more = '[ranker]\nbase = "events.score"\n'
    shop.events["score"] = np.arange(300) / 7
    data = load_study(shop.write(tmp_path / "a"))
    assert sorted(data.events["score"]) == sorted(shop.events["score"])
    shop.more = '[ranker]\nbase = "price"\n'
    assert load_study(shop.write(tmp_path / "b")).attribute("items.price").role == "ignore"
    shop.more = '[ranker]\nbase = "popularty"\n'
    with pytest.raises(DataError, match=r"ranker\.base 'popularty' is neither .* \(did you mean 'popularity'\?\)"):
        load_study(shop.write(tmp_path / "c"))


def test_nothing_is_read_that_is_not_asked_for(shop: Any, tmp_path: Path) -> None:
    shop.events["unused"] = "x" * 1000
    data = load_study(shop.write(tmp_path))
    assert "unused" not in data.events
    assert [f.code for f in check_study(tmp_path) if "'unused'" in f.message] == ["ignored-column"]


def test_a_million_events(new_shop: Callable[..., Any], tmp_path: Path) -> None:
    shop = new_shop(users=20_000, items=500, rows=1_000_000)
    shop.write(tmp_path, "parquet")
    start = time.process_time()
    data = load_study(tmp_path)
    assert time.process_time() - start < 30
    assert len(data.events) == 1_000_000
    assert data.events.memory_usage(deep=True).sum() < 80e6


@pytest.mark.parametrize(
    ("name", "rows", "attributes", "scale"), [("bank", 14_799, 18, "probability"), ("coat", 6_960, 8, "mean")]
)
def test_real_studies(name: str, rows: int, attributes: int, scale: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip("the study folder is not here")
    data = load_study(SHARED / name)
    assert (len(data.events), len(data.attributes)) == (rows, attributes)
    assert data.outcome().scale == scale
    assert data.dropped == {}
    assert all(f.severity == "warning" for f in check_study(SHARED / name))
