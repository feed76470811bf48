"""A log of purchases alone, from the files to verdicts, ranking and report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

Cli = Callable[..., Result]
Records = Callable[..., list[dict[str, Any]]]

STUDY = """
[users]
path = "users.csv"
key = "user_id"
[items]
path = "items.csv"
key = "item_id"
text = ["title"]
available_from = "listed"
[events]
path = "orders.csv"
user = "user_id"
item = "item_id"
time = "ts"
kind = "purchases"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Orders in which what is on sale is bought more, by the young above all, once it is listed."""
    folder = tmp_path_factory.mktemp("orders")
    rng = np.random.default_rng(3)
    users, items, orders = 150, 80, 2_500
    sale, tag = (rng.random(items) < 0.5).astype(int), (rng.random(items) < 0.5).astype(int)
    young = (rng.random(users) < 0.5).astype(int)
    listed = rng.integers(0, 40, items)
    day = rng.integers(20, 90, orders)
    user = rng.integers(0, users, orders)
    worth = 0.7 * sale + 0.3 * rng.normal(size=items)
    utility = np.exp(worth[None, :] + 0.7 * young[user][:, None] * sale[None, :]) * (listed[None, :] <= day[:, None])
    item = (rng.random(orders)[:, None] > (utility / utility.sum(axis=1, keepdims=True)).cumsum(axis=1)).sum(axis=1)
    start = pd.Timestamp("2024-01-01")
    pd.DataFrame({"user_id": [f"u{i}" for i in range(users)], "young": young}).to_csv(folder / "users.csv", index=False)
    pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(items)],
            "title": [f"Thing {i}" for i in range(items)],
            "sale": sale,
            "tag": tag,
            "listed": (start + pd.to_timedelta(listed, unit="D")).strftime("%Y-%m-%d"),
        }
    ).to_csv(folder / "items.csv", index=False)
    pd.DataFrame(
        {
            "user_id": [f"u{i}" for i in user],
            "item_id": [f"i{i}" for i in item],
            "ts": (start + pd.to_timedelta(day, unit="D")).strftime("%Y-%m-%d"),
        }
    ).to_csv(folder / "orders.csv", index=False)
    (folder / "whyrank.toml").write_text(STUDY)
    return folder


def test_a_log_of_purchases_from_run_to_report(ask: Cli, records: Records, folder: Path, tmp_path: Path) -> None:
    ask("check", folder)
    ask("run", folder, "--source", "exhaustive")
    ask("validate", folder, "--edge", "items.sale -> events.purchase | users.young")
    rows = {str(row["edge"]): row for row in records("verdicts", folder)}
    assert {edge: row["verdict"] for edge, row in rows.items()} == {
        "items.sale -> events.purchase": "validated",
        "items.sale -> events.purchase | users.young": "validated",
        "items.tag -> events.purchase": "inconclusive",
        "users.young -> events.purchase": "unidentifiable",
    }
    assert {row["scale"] for row in rows.values()} == {"log-odds"}
    assert all("exposures were not observed" in str(row["warnings"]) for row in rows.values())
    sale = rows["items.sale -> events.purchase"]
    assert sale["ci_low"] < 0.7 + 0.7 * 0.55 < sale["ci_high"]

    weights = {(w["user_id"], w["attribute"]): w for w in records("weights", folder)}
    young = pd.read_csv(folder / "users.csv").set_index("user_id")["young"]
    first, other = str(young.idxmax()), str(young.idxmin())
    assert weights[first, "items.sale"]["weight"] > weights[other, "items.sale"]["weight"] > 0

    catalogue = pd.read_csv(folder / "items.csv").set_index("item_id")
    ranked = records("recommend", folder, "--user", first, "-k", "5", "--include-seen")
    assert all(catalogue.loc[str(row["item_id"]), "sale"] == 1 for row in ranked)
    explained = json.loads(
        ask("explain", folder, "--user", first, "--item", ranked[0]["item_id"], "--format", "json").stdout
    )
    assert explained["score"] == pytest.approx(ranked[0]["score"])
    assert "log-odds" in ask("report", folder).stdout or "log-odds" in (tmp_path / "report.html").read_text()
