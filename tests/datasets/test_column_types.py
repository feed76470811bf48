"""One table in every type that Parquet and pandas have for it is one study, whatever the types."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whyrank.datasets import StudyData, load_study

STUDY = """
[users]
path = "users.{kind}"
key = "user_id"
[items]
path = "items.{kind}"
key = "item_id"
[attributes."items.grade"]
kind = "ordinal"
levels = ["low", "mid", "high"]
[events]
path = "events.{kind}"
user = "user_id"
item = "item_id"
time = "ts"
outcomes = ["click", "stars"]
context = ["slot"]
"""


def typed_tables() -> dict[str, pa.Table]:
    rng = np.random.default_rng(4)
    age = pd.array(rng.integers(18, 80, 30), dtype="Int64")
    age[3] = pd.NA
    member = pd.array(rng.random(30) < 0.5, dtype="boolean")
    member[5] = pd.NA
    users = pa.Table.from_pandas(pd.DataFrame({"user_id": np.arange(30), "age": age, "member": member}))
    price = [Decimal(int(cents)) / 100 for cents in rng.integers(100, 900, 20)]
    price[2] = None  # type: ignore[call-overload]
    grade = rng.choice(["low", "mid", "high"], 20)
    items = pa.table(
        {
            "item_id": pa.array([f"i{i}" for i in range(20)], pa.large_string()),
            "price": pa.array(price, pa.decimal128(8, 2)),
            "grade": pa.array(grade).dictionary_encode(),
            "fresh": pa.array(rng.random(20) < 0.4, pa.bool_()),
            "weight": pa.array(rng.integers(1, 90, 20) / 4, pa.float32()),
            "stock": pa.array(rng.integers(0, 200, 20), pa.uint8()),
            "tags": pa.array([["a"], ["a", "b"], [], ["b"]] * 5, pa.list_(pa.string())),
        }
    )
    times = np.datetime64("2024-01-01T00:00:00") + rng.integers(0, 10**6, 400).astype("timedelta64[s]")
    stars = pd.array(rng.integers(1, 6, 400), dtype="Int8")
    stars[7] = pd.NA
    events = pa.Table.from_pandas(
        pd.DataFrame(
            {
                "user_id": rng.integers(0, 30, 400).astype(np.int16),
                "item_id": pd.Categorical([f"i{i}" for i in rng.integers(0, 20, 400)]),
                "ts": times,
                "click": rng.random(400) < 0.3,
                "stars": stars,
                "slot": pd.Series(rng.choice(["top", "side"], 400), dtype=pd.ArrowDtype(pa.string())),
            }
        )
    )
    return {"users": users, "items": items, "events": events}


def as_text(table: pa.Table) -> pd.DataFrame:
    """Write every cell as a person would."""

    def cell(value: Any) -> str:
        if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            return ""
        if isinstance(value, list | np.ndarray):
            return "|".join(value)
        return f"{value:g}" if isinstance(value, float) else str(value)

    return pd.DataFrame({name: [cell(v) for v in table.column(name).to_pylist()] for name in table.column_names})


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyData, StudyData]:
    tables = typed_tables()
    loaded = []
    for kind in ("parquet", "csv"):
        folder: Path = tmp_path_factory.mktemp(kind)
        for name, table in tables.items():
            if kind == "parquet":
                pq.write_table(table, folder / f"{name}.parquet")
            else:
                as_text(table).to_csv(folder / f"{name}.csv", index=False)
        (folder / "whyrank.toml").write_text(STUDY.format(kind=kind))
        loaded.append(load_study(folder))
    return loaded[0], loaded[1]


def test_types_of_the_file_play_no_part(studies: tuple[StudyData, StudyData]) -> None:
    typed, text = studies
    for name in ("users", "items", "events"):
        pd.testing.assert_frame_equal(getattr(typed, name), getattr(text, name))
    assert typed.attributes == text.attributes


def test_each_type_is_what_it_says(studies: tuple[StudyData, StudyData]) -> None:
    kinds = {name: a.kind for name, a in studies[0].attributes.items()}
    assert kinds == {
        "users.age": "numeric",
        "users.member": "binary",
        "items.price": "numeric",
        "items.grade": "ordinal",
        "items.fresh": "binary",
        "items.weight": "numeric",
        "items.stock": "numeric",
        "items.tags": "set",
        "events.slot": "binary",
    }
    data = studies[0]
    assert data.attributes["users.age"].missing == data.attributes["users.member"].missing == 1
    assert data.attributes["items.grade"].levels == ("low", "mid", "high")
    assert data.items["price"].notna().sum() == 19
    assert data.outcomes["events.click"].scale == "probability"
    assert data.outcomes["events.stars"].scale == "mean"
    assert data.events["stars"].isna().sum() == 1
