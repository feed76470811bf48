r"""Base scores: what an item is worth before anything is known of the user.

Popularity is the item's mean outcome in the log, smoothed toward the mean of all items. That mean already holds the
effect of the item's attributes, which the score adds again, and of who saw the item and in which context. All
validated effects are therefore taken out first,

.. math:: base_i = m + \frac{n_i\tau^2}{n_i\tau^2 + \sigma^2}\,(\bar y_i - \bar c_i - m)

with n_i the item's exposures, c-bar_i the mean of strength times the validated effects (of item, user and context, each
attribute less its mean) over them, m the mean of what is left, sigma² its variance within items and tau² that between
them (method of moments). The score of an item with many exposures is then its own mean outcome plus what is particular
to the user; that of an item with few is what its attributes predict. With strength 0 it is plain smoothed popularity.

In a log of purchases there are no exposures to divide by: the base is the logarithm of the item's share of the
purchases over the share its attributes predict, with counts smoothed by a gamma prior, on the scale of log-odds.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from whyrank.datasets.study_data import Outcome, StudyData
from whyrank.errors import InputError, WhyRankWarning, nearest
from whyrank.ranker.weights import Weights

__all__ = ["column_base", "explained", "fit_base", "popularity", "purchase_popularity"]

Floats = npt.NDArray[np.float64]

_LATER = ("als", "bpr", "lightgbm")


def fit_base(
    data: StudyData,
    outcome: Outcome,
    weights: Weights,
    base: str = "popularity",
    *,
    strength: float = 1.0,
    net: bool = True,
) -> Floats:
    """Return the base score of each item.

    Parameters
    ----------
    data, outcome
        The study, and what is ranked for.
    weights
        The validated effects on the outcome.
    base
        "popularity", or a numeric column of items.
    strength
        What the causal part of a score is multiplied by.
    net
        Whether popularity is taken net of the validated effects, times `strength`.

    Raises
    ------
    InputError
        If there is no such base.
    """
    if base != "popularity":
        return column_base(data, base)
    item = data.events["item"].to_numpy()
    y = data.events[outcome.column].to_numpy(np.float64)
    n_items = len(data.items)
    if data.config.events.kind == "purchases":
        causal = np.zeros(n_items)
        for term, h in zip(weights.terms, weights.values(data), strict=True):
            if net and term.attribute.table == "items":  # the log's mean user has the average effects
                causal += strength * term.weight * h
        return purchase_popularity(item[y > 0], causal, n_items)
    return popularity(item, y, strength * explained(data, weights) if net else np.zeros(len(y)), n_items)


def explained(data: StudyData, weights: Weights) -> Floats:
    """Return the validated effects in each exposure: of the item, of the user it was shown to, and of the context."""
    user, item = data.events["user"].to_numpy(), data.events["item"].to_numpy()
    rows = {"users": user, "items": item, "events": np.arange(len(user))}
    total = np.zeros(len(user))
    for k, h in enumerate(weights.values(data)):
        weight = np.full(len(user), weights.terms[k].weight)
        for d in weights.deviations:
            if d.term == k:
                weight += d.weight * weights.centred[user, d.modifier]
        total += weight * h[rows[weights.terms[k].attribute.table]]
    return total


def popularity(item: npt.NDArray[np.integer], y: Floats, causal: Floats, n_items: int) -> Floats:
    """Return the base of each item from a log of exposures.

    Parameters
    ----------
    item, y
        Position of the item and outcome of each exposure; NaN outcomes don't count.
    causal
        Validated effects in each exposure, shape (exposures,): zeros for plain popularity.
    n_items
        Number of items; those without exposures get the mean.
    """
    known = np.isfinite(y)
    item, y, causal = item[known], y[known], causal[known]
    total = len(y)
    if not total:
        return np.zeros(n_items)
    n = np.bincount(item, minlength=n_items).astype(np.float64)
    shown = n > 0
    mean_y = np.divide(np.bincount(item, weights=y, minlength=n_items), n, out=np.zeros(n_items), where=shown)
    mean_c = np.divide(np.bincount(item, weights=causal, minlength=n_items), n, out=np.zeros(n_items), where=shown)
    rest = mean_y - mean_c
    centre = float(np.average(rest[shown], weights=n[shown]))
    items = int(shown.sum())
    within = float(((y - causal - rest[item]) ** 2).sum()) / max(total - items, 1)
    spread = float((n * (rest - centre) ** 2).sum()) - (items - 1) * within
    between = max(0.0, spread / max(total - float((n**2).sum()) / total, 1e-300))
    noise = n * between + within
    share = np.divide(n * between, noise, out=np.ones(n_items), where=noise > 0)
    return np.where(shown, centre + share * (rest - centre), centre)


def purchase_popularity(item: npt.NDArray[np.integer], causal: Floats, n_items: int) -> Floats:
    """Return the base of each item from a log of purchases, as log-odds over an average item.

    Parameters
    ----------
    item
        Position of the item of each purchase.
    causal
        Causal part of each item's score for the log's mean user, shape (items,): zeros for plain popularity.
    n_items
        Number of items.
    """
    n = np.bincount(item, minlength=n_items).astype(np.float64)
    if not n.sum():
        return np.zeros(n_items)
    odds = np.exp(causal - causal.max())
    expected = n.sum() * odds / odds.sum()
    excess = max(0.0, float(((n - expected) ** 2 - expected).sum()) / float((expected**2).sum()))
    if excess == 0.0:
        return np.zeros(n_items)
    prior = 1.0 / excess
    return np.asarray(np.log((n + prior) / (expected + prior)))


def column_base(data: StudyData, name: str) -> Floats:
    """Return the base that an item column of scores gives; a missing score counts as the mean, with a warning.

    Raises
    ------
    InputError
        If there is no such numeric column, or the base is one that this version doesn't have.
    """
    column = name.removeprefix("items.")
    numeric = [c for c in data.items.columns if data.items[c].dtype.kind in "fiu"]
    if column not in numeric:
        if name in _LATER:
            reason = f"the base {name!r} is not available in this version"
        elif column in data.items:
            reason = f"the base {name!r} must be a column of numbers, got {data.items[column].dtype}"
        else:
            reason = f"no base {name!r}{nearest(column, ['popularity', *numeric])}"
        raise InputError(
            f"{reason}: expected 'popularity' or a numeric column of items ({', '.join(numeric) or 'none'})"
        )
    scores = data.items[column].to_numpy(np.float64)
    missing = int(np.isnan(scores).sum())
    if missing == len(scores):
        raise InputError(f"the base column {name!r} holds no score at all")
    if missing:
        warnings.warn(
            f"{missing} of {len(scores)} items have no score in {name!r}; the mean is taken",
            WhyRankWarning,
            stacklevel=2,
        )
    return np.where(np.isnan(scores), np.nanmean(scores), scores)
