"""The panel of Complete Journey: which weeks, which categories, and what was on promotion, in DuckDB SQL.

Everything about products and categories (weights, prices, shares, price cuts, even which categories are kept) is
computed from the households without demographics; the panel's own purchases only make the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pandas as pd

from whyrank.errors import DataError

__all__ = ["Panel", "Sizes", "build_panel"]

NEITHER_FOOD_NOR_GOODS = (
    "AUTOMOTIVE", "CHARITABLE CONT", "CNTRL/STORE SUP", "COUPON", "FUEL", "GM MERCH EXP", "MISCELLANEOUS",
    "PHOTO & VIDEO", "POSTAL CENTER", "PROD-WHS SALES", "RESTAURANT", "TRAVEL & LEISURE",
)  # fmt: skip
"""Departments left out: services, fuel, coupons and leftovers."""

LEFT_OUT = (
    "BEERS/ALES", "CIGARETTES", "DOMESTIC WINE", "IMPORTED WINE", "LIQUOR", "MISC WINE", "TOBACCO OTHER",
    "CHRISTMAS  SEASONAL", "EASTER", "FALL AND WINTER SEASONAL", "HALLOWEEN", "SPRING/SUMMER SEASONAL", "VALENTINE",
    "BOOKSTORE", "COUPON/MISC ITEMS", "MAGAZINE", "MISCELLANEOUS", "NEWSPAPER", "PROCESSED", "TICKETS",
)  # fmt: skip
"""Categories left out: age-restricted or seasonal goods, press and tickets, and names that say nothing."""

FIRST_WEEK = 2
"""Week 1 of the data is a single day."""

PROMOTED_FROM = 0.10
"""A category counts as displayed (in the mailer) where products with this share of its usual sales are."""

CUT_FROM = 0.50
"""A category counts as cut in price when products with this share of the sales of those seen are."""

SEEN_FROM = 5
"""With fewer purchases by other households in the week, a category's price cut is unknown."""

MIN_BUYERS = 0.10
"""Share of the other households that must have bought a category in the year."""


@dataclass(frozen=True)
class Sizes:
    """How much of the log goes into the study.

    Attributes
    ----------
    categories : the categories with the most buyers are kept.
    visits : household-weeks drawn; None for all of them.
    seed : of the draw.
    """

    categories: int
    visits: int | None
    seed: int


@dataclass(frozen=True)
class Panel:
    """Tables of the study before they are worded.

    Attributes
    ----------
    demographics : one row per household with demographics.
    categories : one row per kept category, with what the other households bought there.
    types : the best-selling product types of each category, best first.
    events : one row per household, week and category.
    plan : one row per category: its promotions in the last week, in the store where most households with demographics
        shopped then.
    """

    demographics: pd.DataFrame
    categories: pd.DataFrame
    types: pd.DataFrame
    events: pd.DataFrame
    plan: pd.DataFrame


def build_panel(data: Path, sizes: Sizes, report: Callable[[str], None]) -> Panel:
    """Make the panel from the folder of Parquet files; `report` is told each step before it is done.

    Raises
    ------
    DataError
        If fewer categories have enough buyers than asked for.
    """
    with _connect(data) as con:
        report("products and categories")
        con.execute(_OTHERS)
        con.execute(_PRODUCTS, {"departments": list(NEITHER_FOOD_NOR_GOODS), "categories": list(LEFT_OUT)})
        con.execute(_CATEGORIES, {"share": MIN_BUYERS, "top": sizes.categories})
        found = _number(con, "SELECT count(*) FROM category")
        if found < sizes.categories:
            raise DataError(f"categories = {sizes.categories}, but only {found} were bought by enough households")
        report("price cuts")
        con.execute(_CUTS, {"cut_from": CUT_FROM, "seen_from": SEEN_FROM})
        report("shopping weeks")
        con.execute(_MAIN_STORES, {"first_week": FIRST_WEEK})
        con.execute(_COVERED)
        con.execute(_PLANNED)
        _draw(con, sizes)
        report("displays and mailers")
        con.execute(_PROMOTIONS, {"from": PROMOTED_FROM})
        report("what was bought")
        return Panel(
            demographics=con.execute("SELECT * FROM demographics ORDER BY household_id").df(),
            categories=con.execute("SELECT * FROM category ORDER BY category").df(),
            types=con.execute(_TYPES).df(),
            events=con.execute(_EVENTS).df(),
            plan=con.execute(_PLAN).df(),
        )


@contextmanager
def _connect(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with TemporaryDirectory(prefix="whyrank-") as spill, duckdb.connect() as con:
        con.execute("SET memory_limit = '2GB'")
        con.execute(f"SET temp_directory = '{_quote(spill)}'")
        for name in ("transactions", "products", "promotions", "demographics"):
            file = _quote(str(data / f"{name}.parquet"))
            con.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{file}')")  # noqa: S608
        yield con


def _quote(text: str) -> str:
    return text.replace("'", "''")


def _number(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _draw(con: duckdb.DuckDBPyConnection, sizes: Sizes) -> None:
    """Keep whole household-weeks, drawn at random: every category of a week stays in, bought or not."""
    visits = con.execute("SELECT * FROM covered ORDER BY household_id, week").df()
    if sizes.visits is not None and sizes.visits < len(visits):
        rng = np.random.default_rng(sizes.seed)
        visits = visits.iloc[np.sort(rng.choice(len(visits), size=sizes.visits, replace=False))]
    con.register("drawn", visits)
    con.execute("CREATE TABLE visit AS SELECT * FROM drawn")
    con.unregister("drawn")


_OTHERS = """
CREATE TABLE other AS
SELECT * FROM transactions WHERE household_id NOT IN (SELECT household_id FROM demographics) AND quantity > 0;
"""

_PRODUCTS = """
CREATE TABLE product AS
SELECT product_id, any_value(product_category) AS category, any_value(department) AS department,
       any_value(brand) AS brand, any_value(product_type) AS type, sum(sales_value) AS sales
FROM other JOIN products USING (product_id)
WHERE product_category IS NOT NULL
  AND department NOT IN (SELECT unnest($departments)) AND product_category NOT IN (SELECT unnest($categories))
GROUP BY product_id HAVING sum(sales_value) > 0;
"""

_CATEGORIES = """
CREATE TABLE category AS
WITH kept AS (
    SELECT category, count(DISTINCT household_id) AS buyers
    FROM other JOIN product USING (product_id) GROUP BY category
    HAVING buyers >= $share * (SELECT count(DISTINCT household_id) FROM other)
    ORDER BY buyers DESC, category LIMIT $top
), priced AS (
    SELECT category, median((sales_value + retail_disc + coupon_match_disc) / quantity) AS typical_price
    FROM other JOIN product USING (product_id) GROUP BY category
), by_department AS (
    SELECT category, department, row_number() OVER (PARTITION BY category ORDER BY sum(sales) DESC, department) AS place
    FROM product GROUP BY category, department
)
SELECT category, buyers, department, round(typical_price, 2) AS typical_price, products, private_label, sales
FROM kept JOIN priced USING (category) JOIN by_department USING (category)
JOIN (
    SELECT category, count(*) AS products, sum(sales) AS sales,
           round(coalesce(sum(sales) FILTER (WHERE brand = 'Private'), 0) / sum(sales), 3) AS private_label
    FROM product GROUP BY category
) USING (category)
WHERE place = 1;
"""

_CUTS = """
CREATE TABLE cut AS
WITH seen AS (
    SELECT product_id, week, count(*) AS purchases, count(*) FILTER (WHERE retail_disc > 0) AS reduced
    FROM other WHERE product_id IN (SELECT product_id FROM product SEMI JOIN category USING (category))
    GROUP BY product_id, week
)
SELECT category, week,
       CASE WHEN sum(purchases) >= $seen_from
            THEN (coalesce(sum(sales) FILTER (WHERE reduced >= 0.5 * purchases), 0) >= $cut_from * sum(sales))::TINYINT
       END AS price_cut
FROM seen JOIN product USING (product_id) GROUP BY category, week;
"""

_MAIN_STORES = """
CREATE TABLE main_store AS
SELECT household_id, week, store_id FROM (
    SELECT household_id, week, store_id,
           row_number() OVER (PARTITION BY household_id, week ORDER BY sum(sales_value) DESC, store_id) AS place
    FROM transactions WHERE household_id IN (SELECT household_id FROM demographics) AND week >= $first_week
    GROUP BY household_id, week, store_id
) WHERE place = 1;
"""

_COVERED = """
CREATE TABLE covered AS
SELECT household_id, week, store_id FROM main_store
SEMI JOIN (SELECT DISTINCT store_id, week FROM promotions) USING (store_id, week);
"""

_PLANNED = """
CREATE TABLE planned AS
SELECT store_id, week FROM covered WHERE week = (SELECT max(week) FROM covered)
GROUP BY store_id, week ORDER BY count(*) DESC, store_id LIMIT 1;
"""

_PROMOTIONS = """
CREATE TABLE promoted AS
WITH here AS (
    SELECT product_id, store_id, week,
           bool_or(display_location <> '0') AS display, bool_or(mailer_location <> '0') AS mailer
    FROM promotions
    SEMI JOIN (SELECT product_id FROM product SEMI JOIN category USING (category)) USING (product_id)
    SEMI JOIN (SELECT store_id, week FROM visit UNION SELECT store_id, week FROM planned) USING (store_id, week)
    GROUP BY product_id, store_id, week
)
SELECT category, store_id, week,
       (coalesce(sum(weight) FILTER (WHERE display), 0) >= $from)::TINYINT AS display,
       (coalesce(sum(weight) FILTER (WHERE mailer), 0) >= $from)::TINYINT AS mailer
FROM here JOIN (
    SELECT product_id, category, product.sales / category.sales AS weight
    FROM product JOIN category USING (category)
) USING (product_id)
GROUP BY category, store_id, week;
"""

_EVENTS = """
WITH bought AS (
    SELECT DISTINCT household_id, week, product_category AS category
    FROM transactions SEMI JOIN visit USING (household_id, week, store_id)
    JOIN products USING (product_id) WHERE quantity > 0
)
SELECT visit.household_id, visit.week, category.category,
       (bought.category IS NOT NULL)::TINYINT AS bought,
       coalesce(promoted.display, 0)::TINYINT AS display,
       coalesce(promoted.mailer, 0)::TINYINT AS mailer,
       cut.price_cut
FROM visit CROSS JOIN category
LEFT JOIN promoted
    ON promoted.store_id = visit.store_id AND promoted.week = visit.week AND promoted.category = category.category
LEFT JOIN cut ON cut.week = visit.week AND cut.category = category.category
LEFT JOIN bought
    ON bought.household_id = visit.household_id AND bought.week = visit.week AND bought.category = category.category
ORDER BY visit.household_id, visit.week, category.category;
"""

_PLAN = """
SELECT category.category, coalesce(promoted.display, 0)::TINYINT AS display,
       coalesce(promoted.mailer, 0)::TINYINT AS mailer, cut.price_cut
FROM planned CROSS JOIN category
LEFT JOIN promoted
    ON promoted.store_id = planned.store_id AND promoted.week = planned.week AND promoted.category = category.category
LEFT JOIN cut ON cut.week = planned.week AND cut.category = category.category
ORDER BY category.category;
"""

_TYPES = """
SELECT category, type FROM product JOIN category USING (category) WHERE type IS NOT NULL
GROUP BY category, type HAVING sum(product.sales) >= 0.01 * any_value(category.sales)
ORDER BY category, sum(product.sales) DESC, type;
"""
