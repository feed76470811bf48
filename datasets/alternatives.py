"""What else could have been bought: alternatives sampled for each purchase of a log that holds positives only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whyrank.datasets.study_data import StudyData

__all__ = ["ChoiceSets", "sample_alternatives"]

Codes = npt.NDArray[np.int32]

LEAST, MOST = 20, 100
"""Alternatives per purchase: at least, and at most as far as `TARGET_ROWS` allow."""

TARGET_ROWS = 1_000_000
"""Alternatives in all beyond which each purchase gets no more than `LEAST`."""

MAX_PURCHASES = 200_000
"""Purchases that are looked at; of a larger log as many are drawn at random."""

_NEVER, _FOREVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True)
class ChoiceSets:
    """Purchases with the items among which each was made.

    Attributes
    ----------
    rows : position of each purchase in the events, shape (n,).
    user : who bought, shape (n,).
    items : the item bought, then the alternatives, shape (n, width); -1 where fewer were available.
    per_purchase : alternatives that each purchase got, where enough were available.
    complete : whether no set was sampled: every alternative is in it.
    purchases : purchases in the log, of which `rows` may be a random part.
    contradicted : purchases of an item outside its dates; it was bought all the same, so it is in its set.
    alone : purchases left out because nothing else was available.
    """

    rows: npt.NDArray[np.intp]
    user: Codes
    items: Codes
    per_purchase: int
    complete: bool
    purchases: int
    contradicted: int
    alone: int


def sample_alternatives(
    data: StudyData, rows: npt.NDArray[np.intp], *, rng: np.random.Generator, per_purchase: int | None = None
) -> ChoiceSets:
    """Draw alternatives for each purchase, uniformly and without replacement, from what was available at its time.

    Available is an item whose dates (`available_from`, `available_to`, both days included) hold the time of the
    purchase; without dates or a time, every item of the study. The item bought is not among its own alternatives. With
    uniform sampling the correction for it cancels in a conditional logit (McFadden 1978), so the sets can be used as
    they are.

    Parameters
    ----------
    data : the study.
    rows : positions of the purchases in the events.
    per_purchase : alternatives for each; by default `LEAST` to `MOST` of them, by the size of the log.

    References
    ----------
    McFadden (1978), Modelling the choice of residential location.
    """
    total = len(rows)
    if total > MAX_PURCHASES:
        rows = np.sort(rng.choice(rows, MAX_PURCHASES, replace=False))
    wanted = per_purchase or int(np.clip(TARGET_ROWS // max(len(rows), 1), LEAST, MOST))
    bought = data.events["item"].to_numpy(np.int32)[rows]
    first, last = _dates(data)
    when = _times(data, rows)
    edges = np.unique(np.concatenate([first, np.where(last < _FOREVER, last + 1, last)]))
    spell = np.where(when == _NEVER, -1, np.searchsorted(edges, when, side="right"))
    order = np.argsort(spell, kind="stable")
    chosen = np.full((len(rows), wanted + 1), -1, np.int32)
    chosen[:, 0] = bought
    complete, contradicted = True, 0
    for here in np.split(order, np.flatnonzero(np.diff(spell[order])) + 1):
        moment = when[here[0]] if len(here) else _NEVER
        on_offer = np.arange(len(first)) if moment == _NEVER else np.flatnonzero((first <= moment) & (last >= moment))
        position = np.searchsorted(on_offer, bought[here])
        inside = (position < len(on_offer)) & (np.append(on_offer, -1)[position] == bought[here])
        contradicted += int((~inside).sum())
        for part, size in ((inside, len(on_offer) - 1), (~inside, len(on_offer))):
            mine = here[part]
            if not len(mine) or size < 1:
                continue
            complete = complete and size <= wanted
            drawn = _draw(len(mine), size, wanted, rng)
            if size < len(on_offer):
                drawn += drawn >= position[part][:, None]
            chosen[mine, 1 : 1 + drawn.shape[1]] = on_offer[drawn]
    real = chosen[:, 1] >= 0
    width = int((chosen >= 0).sum(axis=1).max(initial=1))
    return ChoiceSets(
        rows=rows[real],
        user=data.events["user"].to_numpy(np.int32)[rows[real]],
        items=chosen[real, :width],
        per_purchase=wanted,
        complete=complete,
        purchases=total,
        contradicted=contradicted,
        alone=int((~real).sum()),
    )


def _draw(count: int, size: int, wanted: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw `wanted` of `size` without replacement, `count` times at once (Floyd); all if there are fewer."""
    if size <= wanted:
        return np.tile(np.arange(size), (count, 1))
    out = np.empty((count, wanted), np.int64)
    for k in range(wanted):
        last = size - wanted + k
        pick = rng.integers(0, last + 1, count)
        taken = (out[:, :k] == pick[:, None]).any(axis=1)
        out[:, k] = np.where(taken, last, pick)
    return out


def _dates(data: StudyData) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first and the last moment at which each item was offered; an item without a date always was."""
    section = data.config.items
    bounds = []
    for column, missing in ((section.available_from, _NEVER), (section.available_to, _FOREVER)):
        if column is None or column not in data.items:
            bounds.append(np.full(len(data.items), missing, np.int64))
            continue
        dates = data.items[column].to_numpy("datetime64[us]")
        moment = dates.astype(np.int64)
        if missing == _FOREVER:  # a day without a time of day lasts until its end
            moment = np.where(dates == dates.astype("datetime64[D]"), moment + 86_400_000_000 - 1, moment)
        bounds.append(np.where(np.isnat(dates), missing, moment))
    return bounds[0], bounds[1]


def _times(data: StudyData, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Return the moment of each purchase; `_NEVER` where it isn't known, or items have no dates."""
    dated = data.config.items.available_from is not None or data.config.items.available_to is not None
    if not dated or "time" not in data.events:
        return np.full(len(rows), _NEVER, np.int64)
    times = data.events["time"].to_numpy("datetime64[us]")[rows]
    return np.where(np.isnat(times), _NEVER, times.astype(np.int64))
