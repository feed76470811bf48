"""A small study in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from whyrank.config import EventsConfig, GraphConfig, ItemsConfig, StudyConfig, StudySection, UsersConfig
from whyrank.datasets.study_data import Attribute, Outcome, StudyData

ATTRIBUTES = (
    Attribute("users.new_user", "binary", levels=("0", "1"), reference="0", description="first visit to the shop"),
    Attribute("users.age", "numeric"),
    Attribute("users.region", "categorical", levels=("north", "south", "west"), reference="north"),
    Attribute("users.loyalty", "ordinal", levels=("none", "silver", "gold"), reference="none", role="modifier"),
    Attribute("items.price", "numeric", description="shelf price in EUR"),
    Attribute("items.free_shipping", "binary", levels=("0", "1"), reference="0", description="delivery costs nothing"),
    Attribute("items.brand", "categorical", levels=("basic", "plus", "premium"), reference="basic"),
    Attribute("items.season", "categorical", levels=("summer", "winter"), reference="summer", role="confounder"),
    Attribute("items.legacy", "binary", levels=("0", "1"), reference="0", role="ignore"),
    Attribute("events.position", "numeric", description="place on the page, 1 is the top"),
)


def shop(
    *,
    attributes: tuple[Attribute, ...] = ATTRIBUTES,
    graph: GraphConfig | None = None,
    titles: tuple[str, ...] = ("Blue mug", "Red lamp for item-0007", "Green chair"),
    language: Literal["en", "zh"] = "en",
) -> StudyData:
    config = StudyConfig(
        path=Path("shop/whyrank.toml"),
        study=StudySection(name="shop", language=language),
        users=UsersConfig(path="users.csv", key="user_id"),
        items=ItemsConfig(path="items.csv", key="item_id", text=("title",)),
        events=EventsConfig(
            path="events.csv",
            user="user_id",
            item="item_id",
            time="ts",
            outcomes=("click", "spend"),
            context=("position",),
        ),
        graph=graph or GraphConfig(),
    )
    item_ids = np.array([f"item-{i:04d}" for i in range(6, 6 + len(titles))], dtype=object)
    return StudyData(
        config=config,
        path=config.path,
        users=pd.DataFrame(index=range(2)),
        items=pd.DataFrame({"title": list(titles)}),
        events=pd.DataFrame({"user": [0, 1], "item": [0, 1], "click": [0.0, 1.0], "spend": [0.0, 9.5]}),
        user_ids=np.array(["person-1", "person-2"], dtype=object),
        item_ids=item_ids,
        attributes={a.name: a for a in attributes},
        outcomes={
            "events.click": Outcome("events.click", "probability"),
            "events.spend": Outcome("events.spend", "mean", "EUR spent"),
        },
        texts=("title",),
        findings=(),
        dropped={},
        fingerprint="",
    )
