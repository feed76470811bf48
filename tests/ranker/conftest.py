"""A small study built in memory, and judgements as the estimators would hand them over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from whyrank.config import EventsConfig, ItemsConfig, StudyConfig, StudySection, UsersConfig
from whyrank.datasets.study_data import Attribute, Outcome, StudyData
from whyrank.edge import Contrast, Edge
from whyrank.estimators.estimate import Estimate, Judgement, VerdictName
from whyrank.ranker import Ranker

BRANDS = ("basic", "plus", "premium")
REGIONS = ("north", "south", "west")


@dataclass(frozen=True)
class World:
    """A study whose true expected outcome is known for every user and item."""

    data: StudyData
    truth: npt.NDArray[np.float64]


def build(
    seed: int = 0,
    *,
    n_users: int = 120,
    n_items: int = 40,
    n_events: int = 3000,
    noise: float = 0.5,
    own: float = 0.0,
    language: str = "en",
    kind: str = "exposures",
) -> World:
    """Draw a study: dwell = .8 free_shipping (+1.2 if new) - .1 price + .4 premium + .05 age + own worth + noise."""
    rng = np.random.default_rng(seed)
    users = pd.DataFrame(
        {
            "new_user": rng.integers(0, 2, n_users).astype(np.float64),
            "region": pd.Categorical(rng.choice(REGIONS, n_users), categories=REGIONS),
            "age": rng.normal(40, 10, n_users),
        }
    )
    items = pd.DataFrame(
        {
            "free_shipping": rng.integers(0, 2, n_items).astype(np.float64),
            "price": np.where(rng.random(n_items) < 0.1, np.nan, rng.gamma(4, 2, n_items)),
            "brand": pd.Categorical(rng.choice(BRANDS, n_items), categories=BRANDS),
            "tags": [tuple(t for t in ("eco", "sale") if rng.random() < 0.5) for _ in range(n_items)],
            "score": rng.normal(size=n_items),
        }
    )
    user = rng.integers(0, n_users, n_events).astype(np.int32)
    # a few items get most exposures, as in any log
    item = np.minimum(rng.geometric(4 / n_items, n_events) - 1, n_items - 1).astype(np.int32)
    price = items["price"].fillna(items["price"].mean()).to_numpy()
    worth = 3 - 0.1 * price + 0.4 * (items["brand"] == "premium").to_numpy() + rng.normal(0, own, n_items)
    effect = 0.8 + 1.2 * users["new_user"].to_numpy()
    truth = worth[None, :] + effect[:, None] * items["free_shipping"].to_numpy()[None, :]
    display = rng.integers(0, 2, n_events).astype(np.float64)
    truth = truth + 0.05 * (users["age"].to_numpy() - 40)[:, None]
    dwell = truth[user, item] + 0.3 * display + rng.normal(0, noise, n_events)
    events = pd.DataFrame(
        {"user": user, "item": item, "dwell": dwell, "click": (dwell > 4.5).astype(np.float64), "display": display}
    )
    return World(
        StudyData(
            config=StudyConfig.model_validate(
                {
                    "path": Path("whyrank.toml"),
                    "study": StudySection.model_validate({"language": language}),
                    "users": UsersConfig(path="users.csv", key="user_id"),
                    "items": ItemsConfig(path="items.csv", key="item_id"),
                    "events": EventsConfig.model_validate(
                        {"path": "e.csv", "user": "u", "item": "i", "outcomes": ("dwell", "click"), "kind": kind}
                    ),
                }
            ),
            path=Path("whyrank.toml"),
            users=users,
            items=items,
            events=events,
            user_ids=np.array([f"u{i:04d}" for i in range(n_users)], object),
            item_ids=np.array([f"i{i:04d}" for i in range(n_items)], object),
            attributes={
                a.name: a
                for a in (
                    Attribute("users.new_user", "binary", levels=("0", "1"), reference="0"),
                    Attribute("users.region", "categorical", levels=REGIONS, reference="south"),
                    Attribute("users.age", "numeric"),
                    Attribute("items.free_shipping", "binary", levels=("no", "yes"), reference="no"),
                    Attribute("items.price", "numeric"),
                    Attribute("items.brand", "categorical", levels=BRANDS, reference="basic"),
                    Attribute("items.tags", "set", levels=("eco", "sale")),
                    Attribute("items.score", "numeric", role="ignore"),
                    Attribute("events.display", "binary", levels=("0", "1"), reference="0"),
                )
            },
            outcomes={
                "events.dwell": Outcome("events.dwell", "mean"),
                "events.click": Outcome("events.click", "probability"),
            },
            texts=(),
            findings=(),
            dropped={},
            fingerprint=f"world-{seed}",
        ),
        truth,
    )


def judge(
    edge: str,
    effect: float,
    se: float = 0.02,
    *,
    verdict: VerdictName = "validated",
    level: str = "",
    modifier_level: str = "",
    bracket: bool = False,
    modifier_bracket: bool = False,
    sign: str = "",
) -> Judgement:
    """Return a verdict on one contrast with this effect and standard error."""
    contrast = Contrast(
        Edge.parse(edge),
        level=level,
        modifier_level=modifier_level,
        bracket=bracket,
        modifier_bracket=modifier_bracket,
    )
    values: dict[str, Any] = {
        "grain": "exposure", "population": "all rows", "scale": "mean", "scope": "items like these", "naive": effect,
        "naive_significant": True, "p_value": 0.001, "dof": 30.0, "n": 100, "n_users": 10, "n_items": 10, "ess": 100.0,
        "clusters": "user, item", "overlap": 1.0, "robustness_value": 0.2, "adjusted_for": (), "estimator": "AIPW",
        "smaller_arm": 20,
    }  # fmt: skip
    estimate = Estimate(contrast, estimate=effect, se=se, ci_low=effect - 2 * se, ci_high=effect + 2 * se, **values)
    return Judgement(estimate, verdict, (), 0.01, sign, "exhaustive")


def true_judgements(world: World, *, se: float = 1e-6) -> list[Judgement]:
    """Return what a judge with endless data would say about `build`'s worlds."""
    events = world.data.events
    new = float(world.data.users["new_user"].to_numpy()[events["user"].to_numpy()].mean())
    return [
        judge("items.free_shipping -> events.dwell", 0.8 + 1.2 * new, se, level="yes"),
        judge("items.free_shipping -> events.dwell | users.new_user", 1.2, se, level="yes", modifier_level="1"),
        judge("items.price -> events.dwell", -0.1, se),
        judge("items.brand -> events.dwell", 0.4, se, level="premium", bracket=True),
        judge("items.brand -> events.dwell", 0.01, 0.2, level="plus", bracket=True, verdict="inconclusive"),
        judge("events.display -> events.dwell", 0.3, se, level="1"),
        judge("users.age -> events.dwell", 0.05, se),
        judge("items.tags -> events.dwell", 0.3, 0.2, level="eco", bracket=True, verdict="refuted"),
    ]


@pytest.fixture(scope="session")
def build_world() -> Callable[..., World]:
    """Return the function that draws a world."""
    return build


@pytest.fixture(scope="session")
def world() -> World:
    """Return a world of 120 users and 40 items."""
    return build()


@pytest.fixture(scope="session")
def make_judgement() -> Callable[..., Judgement]:
    """Return the function that makes a judgement."""
    return judge


@pytest.fixture(scope="session")
def judge_truly() -> Callable[..., list[Judgement]]:
    """Return the function that makes true judgements."""
    return true_judgements


@pytest.fixture(scope="session")
def judgements(world: World) -> list[Judgement]:
    """Return true judgements of `world`."""
    return true_judgements(world)


@pytest.fixture(scope="session")
def ranker(world: World, judgements: list[Judgement]) -> Ranker:
    return Ranker(world.data, judgements)
