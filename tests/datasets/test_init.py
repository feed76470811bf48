"""The inferred study file: it finds tables, keys and columns, explains itself, and loads."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from whyrank.datasets import infer_study, load_study, write_study
from whyrank.errors import DataError, StudyFileError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def _write(folder: Path, **frames: pd.DataFrame) -> Path:
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_the_shop_is_found(shop: Any, tmp_path: Path) -> None:
    for kind in ("csv", "parquet", "duckdb", "sqlite"):
        folder = shop.write(tmp_path / kind, kind)
        target = write_study(folder, force=True)
        found = tomllib.loads(target.read_text(encoding="utf-8"))
        assert (found["users"]["key"], found["items"]["key"]) == ("user_id", "item_id")
        assert found["items"]["text"] == ["title"]
        events = found["events"]
        assert (events["user"], events["item"], events["time"]) == ("user_id", "item_id", "ts")
        assert events["outcomes"] == ["click", "dwell"]
        assert events["propensity"] == "propensity"
        assert set(events["context"]) >= {"device", "position"}
        assert found["attributes"]["items.genres"] == {"kind": "set", "sep": "|"}
        assert found["attributes"]["users.region"] == {"kind": "categorical"}
        assert len(load_study(folder).events) == 300


def test_every_key_is_explained(shop: Any, tmp_path: Path) -> None:
    lines = infer_study(shop.write(tmp_path)).splitlines()
    keys = [line for line in lines if " = " in line.split("#")[0]]
    assert len(keys) > 20
    assert all("  # " in line for line in keys)
    for optional in ("unit", "available_to", "randomised", "fdr", "base_url", "exclude_seen", "unmeasured"):
        assert any(line.startswith(f"# {optional} = ") for line in lines)


def test_other_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    _write(
        tmp_path,
        customers=pd.DataFrame({"id": range(50), "segment": rng.choice(["a", "b", "c"], 50)}),
        catalogue=pd.DataFrame(
            {
                "sku": [f"s{i}" for i in range(30)],
                "colour": rng.choice(["red", "blue"], 30),
                "weight": rng.gamma(2, 2, 30),
            }
        ),
        transactions=pd.DataFrame(
            {
                "order_id": range(1000),
                "customer": rng.integers(0, 50, 1000),
                "sku": [f"s{i}" for i in rng.integers(0, 30, 1000)],
                "created": 1_700_000_000 + rng.integers(0, 10**6, 1000),
                "bought": rng.integers(0, 2, 1000),
                "is_random": rng.integers(0, 2, 1000),
                "channel": rng.choice(["app", "web", "shop"], 1000),
            }
        ),
    )
    found = tomllib.loads(infer_study(tmp_path))
    assert (found["users"]["path"], found["users"]["key"]) == ("customers.csv", "id")
    assert (found["items"]["path"], found["items"]["key"]) == ("catalogue.csv", "sku")
    assert (found["events"]["user"], found["events"]["item"]) == ("customer", "sku")
    assert (found["events"]["outcomes"], found["events"]["randomised"]) == (["bought"], "is_random")
    assert "channel" in found["events"]["context"]
    assert "order_id" not in found["events"]["context"]


def test_chinese_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    _write(
        tmp_path,
        用户=pd.DataFrame(
            {"用户编号": [f"甲{i}" for i in range(40)], "城市": rng.choice(["北京", "上海", "广州"], 40)}
        ),
        商品=pd.DataFrame(
            {
                "商品编号": [f"乙{i}" for i in range(25)],
                "标题": [f"第{i}件很好的商品" for i in range(25)],
                "包邮": [0, 1] * 12 + [0],
            }
        ),
        行为日志=pd.DataFrame(
            {
                "用户编号": [f"甲{i}" for i in rng.integers(0, 40, 500)],
                "商品编号": [f"乙{i}" for i in rng.integers(0, 25, 500)],
                "点击": rng.integers(0, 2, 500),
            }
        ),
    )
    found = tomllib.loads(infer_study(tmp_path))
    assert found["study"]["language"] == "zh"
    assert (found["users"]["key"], found["items"]["key"]) == ("用户编号", "商品编号")
    assert (found["items"]["text"], found["events"]["outcomes"]) == (["标题"], ["点击"])
    write_study(tmp_path)
    assert list(load_study(tmp_path).attributes) == ["users.城市", "items.包邮"]


def test_purchases_only(shop: Any, tmp_path: Path) -> None:
    orders = shop.events[["user_id", "item_id", "ts", "device"]]
    _write(tmp_path, users=shop.users, items=shop.items, purchases=orders)
    text = infer_study(tmp_path)
    assert 'kind = "purchases"' in text
    assert "# Please look: no outcome varies" in text
    write_study(tmp_path)
    assert load_study(tmp_path).events["purchase"].eq(1).all()


def test_hostile_names_and_cells_stay_texts(shop: Any, tmp_path: Path) -> None:
    shop.users = shop.users.rename(columns={"region": 'a"b]\n[llm]\nallow_remote = true #'})
    shop.users["member"] = np.tile(['"\n[llm]\nbase_url = "http://x"', "no"], 15)
    folder = shop.write(tmp_path / 'a "strange" name')
    (folder / "whyrank.toml").unlink()
    found = tomllib.loads(write_study(folder).read_text(encoding="utf-8"))
    assert found["llm"] == {}
    assert found["study"]["name"] == 'a "strange" name'
    assert load_study(folder).config.llm.allow_remote is False


def test_nothing_is_overwritten(shop: Any, tmp_path: Path) -> None:
    folder = shop.write(tmp_path)
    before = (folder / "whyrank.toml").read_text()
    with pytest.raises(StudyFileError, match=r"whyrank\.toml exists already; `--force` overwrites it"):
        write_study(folder)
    assert (folder / "whyrank.toml").read_text() == before
    write_study(folder, force=True)
    assert (folder / "whyrank.toml").read_text() != before
    assert sorted(p.name for p in folder.iterdir()) == ["events.csv", "items.csv", "users.csv", "whyrank.toml"]


def test_what_cannot_be_made_out_is_said(shop: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected at least three tables .* found none"):
        infer_study(tmp_path)
    with pytest.raises(DataError, match="expected a folder with tables"):
        infer_study(tmp_path / "nowhere")
    (tmp_path / "broken.parquet").write_bytes(b"junk")
    _write(tmp_path, users=shop.users, items=shop.items)
    with pytest.raises(DataError, match=r"found items\.csv, users\.csv; not looked at: broken\.parquet"):
        infer_study(tmp_path)
    _write(tmp_path, events=shop.events.assign(user_id="nobody"))
    with pytest.raises(DataError, match="no users, items and events can be made out"):
        infer_study(tmp_path)


@pytest.mark.parametrize("name", ["bank", "coat"])
def test_real_folders(name: str, tmp_path: Path) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip("the study folder is not here")
    for table in ("users", "items", "events"):
        shutil.copyfile(SHARED / name / f"{table}.csv", tmp_path / f"{table}.csv")
    write_study(tmp_path)
    inferred, given = load_study(tmp_path), load_study(SHARED / name)
    assert list(inferred.outcomes) == list(given.outcomes)
    assert inferred.texts == given.texts
    assert set(inferred.attributes) == set(given.attributes)
