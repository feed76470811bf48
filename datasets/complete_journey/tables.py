"""Word the panel of Complete Journey as the tables of a study: users, items, events."""

from __future__ import annotations

import numpy as np
import pandas as pd

from whyrank.datasets.complete_journey.names import aisle, category_name, type_name
from whyrank.datasets.complete_journey.panel import Panel

__all__ = ["AGES", "INCOMES", "KIDS", "SIZES", "events_table", "items_table", "plan_table", "users_table"]

AGES = ("19-24", "25-34", "35-44", "45-54", "55-64", "65+")
"""Age groups of the head of the household, youngest first."""

INCOMES = ("under 35K", "35-49K", "50-74K", "75-99K", "100K+")
"""Income groups, lowest first; the data's twelve, joined where they hold few households."""

KIDS = ("0", "1", "2", "3+")
"""Numbers of children."""

SIZES = ("1", "2", "3", "4", "5+")
"""Numbers of persons in the household."""

_INCOME = {
    "Under 15K": "under 35K",
    "15-24K": "under 35K",
    "25-34K": "under 35K",
    "35-49K": "35-49K",
    "50-74K": "50-74K",
    "75-99K": "75-99K",
}
_HOME = {
    "Homeowner": "owner",
    "Probable Homeowner": "owner",
    "Renter": "renter",
    "Probable Renter": "renter",
}
_TYPES_NAMED = 5


def users_table(panel: Panel) -> pd.DataFrame:
    """Return one row per household with demographics; what the data doesn't know stays missing."""
    raw = panel.demographics
    income = raw["income"].map(lambda group: _INCOME.get(group, "100K+"), na_action="ignore")
    table = {
        "household_id": raw["household_id"],
        "age": raw["age"],
        "income": income,
        "adults": np.where(raw["household_comp"].str.startswith("2"), "two", "one"),
        "kids": raw["kids_count"],
        "household_size": raw["household_size"],
        "marital_status": raw["marital_status"].str.lower(),
        "home_ownership": raw["home_ownership"].map(_HOME),
    }
    return pd.DataFrame(table)


def items_table(panel: Panel) -> pd.DataFrame:
    """Return one row per category: texts, and attributes made from other households' purchases."""
    raw = panel.categories
    names = [category_name(category) for category in raw["category"]]
    aisles = [
        aisle(category, department) for category, department in zip(raw["category"], raw["department"], strict=True)
    ]
    by_category = panel.types.groupby("category")["type"].agg(list)
    texts = [
        _description(name, place, list(by_category.get(category, [])))
        for category, name, place in zip(raw["category"], names, aisles, strict=True)
    ]
    table = {
        "category_id": _ids(raw["category"]),
        "title": names,
        "description": texts,
        "aisle": aisles,
        "typical_price": raw["typical_price"],
        "private_label": raw["private_label"],
        "assortment": raw["products"] / 100,
    }
    return pd.DataFrame(table)


def events_table(panel: Panel) -> pd.DataFrame:
    """Return one row per household, week and category, with the date of the week's Monday and its month."""
    raw = panel.events
    monday = pd.Timestamp("2017-01-02") + pd.to_timedelta(7 * (raw["week"] - 2), unit="D")
    categories = panel.categories["category"]
    ids = dict(zip(categories, _ids(categories), strict=True))
    table = {
        "household_id": raw["household_id"],
        "category_id": raw["category"].map(ids),
        "week_of": monday.dt.strftime("%Y-%m-%d"),
        "month": monday.dt.strftime("%b"),
        "bought": raw["bought"],
        "display": raw["display"],
        "mailer": raw["mailer"],
        "price_cut": raw["price_cut"].astype("Int8"),
    }
    return pd.DataFrame(table)


def plan_table(panel: Panel) -> pd.DataFrame:
    """Return one row per category: its promotions in the last week, to rank in."""
    raw = panel.plan
    categories = panel.categories["category"]
    table = {
        "category_id": raw["category"].map(dict(zip(categories, _ids(categories), strict=True))),
        "display": raw["display"],
        "mailer": raw["mailer"],
        "price_cut": raw["price_cut"].astype("Int8"),
    }
    return pd.DataFrame(table)


def _ids(categories: pd.Series) -> list[str]:
    return [f"C{place:03d}" for place in range(1, len(categories) + 1)]


def _description(name: str, place: str, types: list[str]) -> str:
    named: list[str] = []
    for text in map(type_name, types):
        if text and text not in named:
            named.append(text)
    such_as = f" Products such as {', '.join(named[:_TYPES_NAMED])}." if named else ""
    return f"{name}, in the {place} aisle.{such_as}"
