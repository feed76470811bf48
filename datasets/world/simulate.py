"""Simulate a shop whose true effects are known: users, items, a confounded log, and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.world.columns import INTERACTIONS, SMALL, Column, select
from whyrank.datasets.world.draw import Floats, draw_table, expose
from whyrank.datasets.world.effects import Predictor, true_effects
from whyrank.datasets.world.texts import Language, compose
from whyrank.errors import InputError

__all__ = ["World", "WorldSpec", "null_world", "simulate", "small_world"]

_FIRST_DAY = np.datetime64("2024-01-01T00:00:00", "s")
_DAYS = 90
_NULL_MODIFIED = (("items.badge", "users.new_user"), ("items.express", "users.student"))


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """What a simulated shop is like.

    Attributes
    ----------
    n_users, n_items, n_events : sizes.
    columns : names of the attributes it has; None for all of them (70 contrasts, 23 of them causal).
    effect_scale : factor on all true effects.
    item_sd, user_sd : standard deviation of what is not measured of items (quality) and users (thirst for buying), in
        units of the probability of a purchase.
    confounding : strength of the policy's matches; 0 shows everybody the same mix of items.
    base : probability of a purchase of an average exposure.
    nonlinear : a logistic link, and numeric attributes that act along a parabola.
    null : no attribute does anything; policy and random effects stay.
    seed : every draw follows from it.
    language : of the texts.
    """

    n_users: int = 3_000
    n_items: int = 300
    n_events: int = 120_000
    columns: frozenset[str] | None = None
    effect_scale: float = 1.0
    item_sd: float = 0.02
    user_sd: float = 0.04
    confounding: float = 1.0
    base: float = 0.35
    nonlinear: bool = False
    null: bool = False
    seed: int = 7
    language: Language = "en"

    def __post_init__(self) -> None:
        for name in ("n_users", "n_items", "n_events"):
            if getattr(self, name) < 20:
                raise InputError(f"{name} = {getattr(self, name)!r}: a world needs at least 20")
        for name in ("item_sd", "user_sd", "confounding", "effect_scale"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} = {getattr(self, name)!r} must not be negative")
        if not 0.05 <= self.base <= 0.95:
            raise InputError(f"base = {self.base!r} must lie in 0.05..0.95")


@dataclass(frozen=True)
class World:
    """A simulated shop.

    Attributes
    ----------
    spec : what it was made from.
    users : `user_id` and the attributes of users.
    items : `item_id`, `title`, `description` and the attributes of items.
    events : `user_id`, `item_id`, `ts`, `purchase` and the context of every exposure, in order of time.
    truth : one row per contrast with its true effect, `estimate`, and `causal` 0/1; last the modified effects.
    affinity : true probability of a purchase of every user (row) for every item (column), at the mean context.
    """

    spec: WorldSpec
    users: pd.DataFrame
    items: pd.DataFrame
    events: pd.DataFrame
    truth: pd.DataFrame
    affinity: npt.NDArray[np.float32]


def simulate(spec: WorldSpec | None = None) -> World:
    """Draw the world of a spec; the same spec gives the same world."""
    spec = spec or WorldSpec()
    # A stream for each part, so that a change to one leaves the draws of the others alone.
    for_users, for_items, for_hidden, for_policy, for_context, for_outcome = np.random.default_rng(spec.seed).spawn(6)
    columns = select(spec.columns)
    of = {table: tuple(c for c in columns if c.table == table) for table in ("users", "items", "events")}

    users, user_scores = draw_table(of["users"], spec.n_users, {}, for_users)
    items, item_scores = draw_table(of["items"], spec.n_items, {}, for_items)
    quality = _standardise(for_hidden.standard_normal(spec.n_items))
    thirst = _standardise(for_hidden.standard_normal(spec.n_users))
    popularity = _standardise(0.5 * quality + 0.8 * for_hidden.standard_normal(spec.n_items))
    shown = expose(user_scores, item_scores, popularity, spec.n_events, spec.confounding, for_policy)

    scores = {name: z[shown.user] for name, z in user_scores.items()}
    scores |= {name: z[shown.item] for name, z in item_scores.items()}
    scores |= {"popularity": popularity[shown.item], "quality": quality[shown.item]}
    context, _ = draw_table(of["events"], spec.n_events, scores, for_context)

    start = spec.user_sd * thirst[shown.user] + spec.item_sd * quality[shown.item]
    predictor = _predictor(spec, columns)
    rows = {c.name: _on_rows(c, users, items, context, shown.user, shown.item) for c in columns}
    eta = predictor.linear(rows, start)
    purchase = (for_outcome.random(spec.n_events) < predictor.link(eta)).astype(np.int8)

    user_ids, item_ids = _ids("u", spec.n_users), _ids("i", spec.n_items)
    seconds = np.sort(for_policy.integers(0, _DAYS * 86_400, spec.n_events))
    head = {
        "user_id": pd.Categorical.from_codes(shown.user, categories=pd.Index(user_ids)),
        "item_id": pd.Categorical.from_codes(shown.item, categories=pd.Index(item_ids)),
        "ts": _FIRST_DAY + seconds.astype("timedelta64[s]"),
        "purchase": purchase,
    }
    texts = compose(items, for_items.integers(0, 6, spec.n_items), spec.language)
    return World(
        spec=spec,
        users=pd.concat([pd.Series(user_ids, name="user_id"), users], axis=1),
        items=pd.concat([pd.Series(item_ids, name="item_id"), texts, items], axis=1),
        events=pd.concat([pd.DataFrame(head), context], axis=1),
        truth=true_effects(predictor, rows, eta, _modified(columns)),
        affinity=_affinity(predictor, users, items, spec.user_sd * thirst, spec.item_sd * quality),
    )


def small_world(seed: int = 7, *, null: bool = False, language: Language = "en") -> World:
    """Return a world of 400 users, 60 items and 8,000 exposures with fewer attributes and larger effects."""
    spec = WorldSpec(
        n_users=400,
        n_items=60,
        n_events=8_000,
        columns=SMALL,
        effect_scale=2.0,
        item_sd=0.01,
        user_sd=0.04,
        null=null,
        seed=seed,
        language=language,
    )
    return simulate(spec)


def null_world(seed: int = 7) -> World:
    """Return the default world with every effect taken out; policy and random effects are kept."""
    return simulate(WorldSpec(null=True, seed=seed))


def _standardise(draws: Floats) -> Floats:
    return np.asarray((draws - draws.mean()) / draws.std())


def _ids(letter: str, n: int) -> list[str]:
    width = len(str(n))
    return [f"{letter}{i:0{width}d}" for i in range(1, n + 1)]


def _predictor(spec: WorldSpec, columns: tuple[Column, ...]) -> Predictor:
    names = {c.name for c in columns}
    terms = tuple(t for t in INTERACTIONS if t.cause in names and t.modifier in names)
    return Predictor(columns, terms, 0.0 if spec.null else spec.effect_scale, spec.base, spec.nonlinear)


def _modified(columns: tuple[Column, ...]) -> tuple[tuple[str, str], ...]:
    """Return the pairs in the truth table: the true modifiers, then pairs whose cause only goes with a true one."""
    names = {c.name for c in columns}
    pairs = tuple((t.cause, t.modifier) for t in INTERACTIONS) + _NULL_MODIFIED
    return tuple(pair for pair in pairs if names.issuperset(pair))


def _on_rows(
    column: Column,
    users: pd.DataFrame,
    items: pd.DataFrame,
    context: pd.DataFrame,
    user: npt.NDArray[np.int64],
    item: npt.NDArray[np.int64],
) -> pd.Series:
    if column.table == "events":
        return context[column.column]
    values, rows = (users, user) if column.table == "users" else (items, item)
    return values[column.column].take(rows).reset_index(drop=True)


def _affinity(
    predictor: Predictor, users: pd.DataFrame, items: pd.DataFrame, thirst: Floats, quality: Floats
) -> npt.NDArray[np.float32]:
    """Return the probability of a purchase for each pair of user and item; centred context effects average to 0."""
    eta = np.add.outer(predictor.base + thirst, quality)
    tables: Mapping[str, pd.DataFrame] = {"users": users, "items": items}
    for column in predictor.columns:
        if column.table != "events" and column.effects:
            part = predictor.main_effect(column, tables[column.table][column.column])
            eta += part[:, None] if column.table == "users" else part
    for term in predictor.interactions:
        table, name = term.cause.split(".", 1)
        by_user = predictor.carrier(term.modifier, users[term.modifier.removeprefix("users.")])
        if table == "items":
            by_item = predictor.carrier(term.cause, items[name])
        else:
            share = next(c.shares[1] for c in predictor.columns if c.name == term.cause)
            by_item = np.full(len(items), share)
        eta += predictor.scale * term.effect * np.outer(by_user, by_item)
    return predictor.link(eta).astype(np.float32)
