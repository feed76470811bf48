"""Draw users, items and exposures of a simulated shop, with the policy that decides who is shown what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.world.columns import MATCHES, Column

__all__ = ["Exposures", "Floats", "Ints", "draw_table", "encode", "expose"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Exposures:
    """Who was shown what: positions in users and items, in order of time."""

    user: Ints
    item: Ints


def _score(column: Column, known: Mapping[str, Floats], n: int, rng: np.random.Generator) -> Floats:
    """Return a standard normal score that loads on the parents that are in the world."""
    loadings = {name: value for name, value in column.parents.items() if name in known}
    noise = np.sqrt(1 - sum(value**2 for value in loadings.values()))
    score = noise * rng.standard_normal(n)
    for name, value in loadings.items():
        score += value * known[name]
    return np.asarray(score)


def encode(column: Column, score: Floats) -> pd.Series:
    """Turn scores into values: levels at exact quotas by rank, numbers by scale, rounding and bounds."""
    if column.kind == "numeric":
        values = np.round(column.mean + column.sd * score, column.digits)
        return pd.Series(np.clip(values, column.low, column.high), name=column.column)
    ends = np.round(np.cumsum(column.shares) * len(score)).astype(np.int64)
    codes = np.empty(len(score), dtype=np.int8)
    codes[np.argsort(score, kind="stable")] = np.searchsorted(ends, np.arange(len(score)), side="right")
    if column.levels == ("0", "1"):
        return pd.Series(codes, name=column.column)
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(list(column.levels))), name=column.column)


def draw_table(
    columns: tuple[Column, ...], n: int, known: Mapping[str, Floats], rng: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """Draw one table; return it and the scores of its columns by name."""
    scores = dict(known)
    series = {}
    for column in columns:
        scores[column.name] = _score(column, scores, n, rng)
        series[column.column] = encode(column, scores[column.name])
    return pd.DataFrame(series), {c.name: scores[c.name] for c in columns}


def expose(
    user_scores: Mapping[str, Floats],
    item_scores: Mapping[str, Floats],
    popularity: Floats,
    n_events: int,
    confounding: float,
    rng: np.random.Generator,
) -> Exposures:
    """Draw exposures: active users more often, popular items more often, and the matches of the policy.

    The item of an exposure is drawn with a probability proportional to
    ``exp(0.5 popularity_i + confounding * sum_m strength_m z_um z_im)``.
    """
    n_users, n_items = len(next(iter(user_scores.values()))), len(popularity)
    taste = np.tile(0.5 * popularity, (n_users, 1))
    for match in MATCHES:
        item = popularity if match.item == "popularity" else item_scores.get(match.item)
        if item is not None and match.user in user_scores:
            taste += confounding * match.strength * np.outer(user_scores[match.user], item)
    weights = np.exp(taste - taste.max(axis=1, keepdims=True))
    ladder = np.cumsum(weights, axis=1)
    ladder /= ladder[:, -1:]
    activity = rng.gamma(4.0, size=n_users)
    user = rng.choice(n_users, size=n_events, p=activity / activity.sum())
    # One sorted ladder for all users: user u's steps lie in (u, u + 1].
    steps = (ladder + np.arange(n_users)[:, None]).ravel()
    flat = np.searchsorted(steps, user + rng.random(n_events), side="left")
    return Exposures(user, np.clip(flat - user * n_items, 0, n_items - 1))
