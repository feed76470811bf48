"""Features of a user's past: right by hand, blind to the future, independent of row order, wired into the study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from whyrank.datasets import check_study, load_study
from whyrank.datasets.history import past_features
from whyrank.datasets.study_data import Attribute
from whyrank.errors import DataError, StudyFileError

COLOUR = Attribute("items.colour", "categorical", levels=("blue", "green", "red"), reference="red")


def features(events: pd.DataFrame, colours: list[str | None]) -> pd.DataFrame:
    column = pd.Series(pd.Categorical(colours, categories=["blue", "green", "red"]))
    made = past_features(events, {"items.colour": (COLOUR, column)}, ["click"])
    return pd.DataFrame({past.name: past.values for past in made})


def log(rows: list[tuple[int, int, str | None, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user", "item", "time", "click"])
    return frame.assign(time=pd.to_datetime(frame["time"]).astype("datetime64[us]"))


def test_features_by_hand() -> None:
    events = log(
        [
            (0, 0, "2024-01-01", 1.0),
            (0, 1, "2024-01-03", 0.0),
            (0, 0, "2024-01-03", 1.0),  # the same moment as the row before: neither is the other's past
            (0, 0, "2024-01-07", np.nan),
            (0, 2, None, 1.0),
            (1, 0, "2024-01-05", 1.0),
        ]
    )
    found = features(events, ["blue", "red", "blue"])
    nan = np.nan
    expected = {
        "past_count": [0, 1, 1, 3, nan, 0],
        "past_gap": [nan, 2, 2, 4, nan, nan],
        "past_click": [nan, 1, 1, 2 / 3, nan, nan],
        "past_share_colour": [nan, 0, 1, 2 / 3, nan, nan],
        "past_gap_colour": [nan, nan, 2, 4, nan, nan],
        "past_click_colour": [nan, nan, 1, 1, nan, nan],
        "past_share_colour_blue": [nan, 1, 1, 2 / 3, nan, nan],
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


@pytest.fixture(scope="module")
def random_log() -> tuple[pd.DataFrame, list[str | None]]:
    rng = np.random.default_rng(3)
    n = 400
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 60, n), unit="D")
    events = pd.DataFrame(
        {
            "user": rng.integers(0, 12, n),
            "item": rng.integers(0, 15, n),
            "time": days.to_numpy().astype("datetime64[us]"),
            "click": (rng.random(n) < 0.4).astype(float),
        }
    )
    return events, list(rng.choice(np.array(["blue", "green", "red", None], object), 15))


def test_what_comes_later_changes_nothing_before(random_log: tuple[pd.DataFrame, list[str | None]]) -> None:
    events, colours = random_log
    before = features(events, colours)
    row = int(events["time"].argsort().iloc[len(events) // 2])
    moment = events["time"].iloc[row]
    changed = events.copy()
    later = changed["time"] >= moment
    rng = np.random.default_rng(4)
    changed.loc[later, "click"] = 1 - changed.loc[later, "click"]
    shown_later = changed["time"] > moment
    changed.loc[shown_later, "item"] = rng.integers(0, 15, int(shown_later.sum()))
    after = features(changed, colours)
    until = (events["time"] <= moment).to_numpy()
    pd.testing.assert_frame_equal(before[until], after[until])
    assert not before[~until].equals(after[~until])


def test_order_of_rows_plays_no_part(random_log: tuple[pd.DataFrame, list[str | None]]) -> None:
    events, colours = random_log
    order = np.random.default_rng(5).permutation(len(events))
    shuffled = features(events.iloc[order].reset_index(drop=True), colours)
    expected = features(events, colours).iloc[order].reset_index(drop=True)
    np.testing.assert_allclose(shuffled, expected, rtol=1e-12)


def test_a_study_gets_them_as_confounders(shop: Any, tmp_path: Path) -> None:
    shop.toml = shop.toml.replace("[events]", '[events]\nhistory = ["items.brand", "items.genres"]', 1)
    shop.more += '\n[attributes."events.past_count"]\nrole = "any"\n'
    data = load_study(shop.write(tmp_path))
    made = {name: a for name, a in data.attributes.items() if name.startswith("events.past_")}
    assert {"events.past_gap", "events.past_click", "events.past_share_brand", "events.past_share_genres_y"} <= set(
        made
    )
    assert made["events.past_count"].role == "any"
    assert made["events.past_gap"].role == "confounder"
    assert "items.brand" in made["events.past_share_brand"].follows
    assert "items.brand" not in made["events.past_gap"].follows
    assert made["events.past_gap"].missing == int(data.events["past_gap"].isna().sum()) > 0


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ('["items.price"]', "numeric; expected a category"),
        ('["items.bramd"]', r"no attribute of items.*did you mean 'items.brand'"),
    ],
)
def test_what_cannot_be_summed_up(shop: Any, tmp_path: Path, history: str, message: str) -> None:
    shop.toml = shop.toml.replace("[events]", f"[events]\nhistory = {history}", 1)
    with pytest.raises(DataError, match=message):
        load_study(shop.write(tmp_path))


def test_history_needs_a_time_and_items(new_shop: Callable[..., Any], tmp_path: Path) -> None:
    shop = new_shop()
    lines = [line for line in shop.toml.splitlines() if not line.startswith("time")]
    shop.toml = "\n".join(lines).replace("[events]", '[events]\nhistory = ["users.age"]', 1) + "\n"
    with pytest.raises(StudyFileError, match=r"give 'events\.time'") as caught:
        load_study(shop.write(tmp_path))
    assert "must list attributes of items" in str(caught.value)


def test_an_unknown_feature_is_named(shop: Any, tmp_path: Path) -> None:
    shop.toml = shop.toml.replace("[events]", '[events]\nhistory = ["items.brand"]', 1)
    shop.more += '\n[attributes."events.past_coumt"]\nrole = "ignore"\n'
    errors = [f.message for f in check_study(shop.write(tmp_path)) if f.severity == "error"]
    assert any("past_coumt" in said and "did you mean 'events.past_count'" in said for said in errors)
