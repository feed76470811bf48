"""A small shop: frames to change, and a way to write them as a study in any kind of file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pandas as pd
import pytest

TOML = """
[users]
path = "{users}"
key = "user_id"
[items]
path = "{items}"
key = "item_id"
text = ["title"]
available_from = "listed"
[events]
path = "{events}"
user = "user_id"
item = "item_id"
time = "ts"
outcomes = ["click", "dwell"]
context = ["device", "position"]
propensity = "propensity"
"""


@dataclass
class Shop:
    """Frames of a study and its study file; `write` puts them into a folder."""

    users: pd.DataFrame
    items: pd.DataFrame
    events: pd.DataFrame
    toml: str = TOML
    more: str = ""
    folders: int = field(default=0)

    def write(self, folder: Path, kind: Literal["csv", "gz", "parquet", "duckdb", "sqlite"] = "csv") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        frames = {"users": self.users, "items": self.items, "events": self.events}
        ending = {"gz": "csv.gz"}.get(kind, kind)
        toml = self.toml
        for name, frame in frames.items():
            path = folder / f"{name}.{ending}"
            if kind in ("csv", "gz"):
                frame.to_csv(path, index=False)
            elif kind == "parquet":
                frame.to_parquet(path, index=False)
            elif kind == "duckdb":
                with duckdb.connect(str(folder / "shop.duckdb")) as store:
                    store.register("frame", frame)
                    store.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
            else:
                store_ = sqlite3.connect(folder / "shop.sqlite")
                frame.to_sql(name, store_, index=False)
                store_.close()
            if kind in ("duckdb", "sqlite"):
                toml = toml.replace(f'"{{{name}}}"', f'"shop.{kind}"\ntable = "{name}"')
            else:
                toml = toml.replace(f"{{{name}}}", path.name)
        (folder / "whyrank.toml").write_text(toml + self.more, encoding="utf-8")
        return folder


def make_shop(seed: int = 5, users: int = 30, items: int = 20, rows: int = 300) -> Shop:
    """Return a shop whose columns have every kind, with some missing cells."""
    rng = np.random.default_rng(seed)
    user_frame = pd.DataFrame(
        {
            "user_id": np.arange(100, 100 + users),
            "age": np.where(rng.uniform(size=users) < 0.1, np.nan, rng.integers(18, 80, users)),
            "region": rng.choice(["north", "south", "west"], users),
            "member": rng.choice(["yes", "no"], users),
        }
    )
    item_frame = pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(items)],
            "price": rng.gamma(3.0, 7.0, items),
            "brand": rng.choice(np.array(["a", "b", "c", None], dtype=object), items, p=[0.3, 0.3, 0.2, 0.2]),
            "sale": rng.integers(0, 2, items),
            "genres": rng.choice(["x|y", "x", "y|z|x", ""], items),
            "title": [f"Thing {i}, 'quoted' \"twice\" 货" for i in range(items)],
            "listed": ["2023-12-31"] * items,
        }
    )
    event_frame = pd.DataFrame(
        {
            "item_id": rng.choice(item_frame["item_id"], rows),
            "user_id": rng.choice(user_frame["user_id"], rows),
            "ts": (pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 50, rows), unit="D")).astype(str),
            "unused": "x",
            "click": rng.integers(0, 2, rows),
            "dwell": np.where(rng.uniform(size=rows) < 0.1, np.nan, rng.gamma(2.0, 10.0, rows)),
            "device": rng.choice(["phone", "desk", "tablet"], rows),
            "position": rng.integers(1, 5, rows),
            "propensity": rng.uniform(0.05, 1.0, rows),
        }
    )
    return Shop(user_frame, item_frame, event_frame)


@pytest.fixture
def shop() -> Shop:
    return make_shop()


@pytest.fixture(scope="session")
def new_shop() -> Callable[..., Shop]:
    return make_shop
