r"""Scores and top-N lists in which only validated effects move an item.

.. math:: r_{ui} = base_i + strength \cdot \sum_k w_{uk}\,(h_{ik} - \bar h_k)

with h the item's attributes and h-bar_k their mean over the items of the catalogue. A missing value counts as the
mean. A context attribute enters with the value that the caller passes, less its mean over the exposures: one value for
all items moves them alike, a plan with a value per item changes the order. An attribute of the user would add the same
to every item: it carries a weight, but is left out of scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.progress import Progress

from whyrank.datasets.study_data import StudyData
from whyrank.errors import InputError, NameNotFound, WhyRankWarning, nearest
from whyrank.estimators.estimate import Judgement
from whyrank.ranker.audience import Audience, audience
from whyrank.ranker.base import fit_base
from whyrank.ranker.context import Context, ContextLike, read_context
from whyrank.ranker.explain import Contribution, Explanation
from whyrank.ranker.features import shown_value
from whyrank.ranker.topn import top_n
from whyrank.ranker.weights import distinct_rows, fit_weights

__all__ = ["RECOMMEND_COLUMNS", "Ranker"]

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]

RECOMMEND_COLUMNS = ("user_id", "item_id", "rank", "score", "base", "causal")
"""Columns of a list of recommendations, in order."""

_CHUNK_SCORES = 1 << 18  # scores in memory at once


class Ranker:
    """Ranks items for users.

    Parameters
    ----------
    data
        The study.
    judgements
        Verdicts; only validated ones count.
    outcome
        What to rank for, with or without `events.`; the study's first outcome by default.
    base
        "popularity", or a numeric column of items that holds scores.
    strength
        What the causal part is multiplied by; 0 ranks by the base alone.
    exclude_seen
        Whether items that had a positive outcome for the user are left out.
    net_base
        Whether popularity is taken net of the validated effects that the score adds (else they count twice; only for
        comparison).

    Raises
    ------
    InputError
        If an option isn't what it has to be, or the study has no such outcome or attribute.
    """

    def __init__(
        self,
        data: StudyData,
        judgements: Sequence[Judgement],
        *,
        outcome: str | None = None,
        base: str = "popularity",
        strength: float = 1.0,
        exclude_seen: bool = True,
        net_base: bool = True,
    ) -> None:
        if not np.isfinite(strength):
            raise InputError(f"strength must be a finite number, got {strength!r}")
        self.data = data
        self.outcome = data.outcome(outcome)
        self.base_name = base
        self.strength = float(strength)
        self.exclude_seen = exclude_seen
        self.weights = fit_weights(data, judgements, outcome=self.outcome.name)
        self.scale = "log-odds" if data.config.events.kind == "purchases" else self.outcome.scale
        self._item_values = {
            term.attribute.name: data.items[term.attribute.column].to_numpy(object)
            for term in self.weights.terms
            if term.attribute.table == "items"
        }
        self._on_items = [k for k, term in enumerate(self.weights.terms) if term.attribute.table == "items"]
        self._h = np.zeros((len(data.items), len(self.weights.terms)))
        values = self.weights.values(data)
        self._h[:, self._on_items] = np.array([values[k] for k in self._on_items]).T.reshape(len(data.items), -1)
        self._shared = self.strength * (self._h @ self.weights.average)
        self._varying = self.strength * (self.weights.differences @ self._h.T)  # (modifiers, items)
        self.base = fit_base(data, self.outcome, self.weights, base, strength=self.strength, net=net_base)
        self._seen_user, self._seen_item = self._seen()

    def __repr__(self) -> str:
        carrying = sum(v == "validated" for v in self.weights.verdicts)
        return f"<Ranker for {self.outcome.name}: {carrying} validated of {len(self.weights.terms)} attributes>"

    def recommend(
        self,
        users: Sequence[str] | pd.DataFrame,
        *,
        k: int = 10,
        include_seen: bool | None = None,
        context: ContextLike | None = None,
    ) -> pd.DataFrame:
        """Return the best items of each user.

        Parameters
        ----------
        users
            Ids of users of the study; or a table of new users with the key column of the study's users and any of their
            attributes.
        k
            Items per user, at most.
        include_seen
            Whether to keep items with a positive outcome for the user; by default what the ranker was made with.
        context
            Values of the exposure's attributes by name, with or without `events.`: the same for all items. Or a table
            with a value per item: the item's id in `item_id` (or in a column called like the key of the study's items)
            and a column per attribute. Items that the table doesn't list, and empty cells, count as the log's mean.
            What `read_context` returns will do too, and is checked once.

        Returns
        -------
        DataFrame
            `RECOMMEND_COLUMNS`, users in the order given, rank from 1; score = base + causal. Ties go to the item that
            stands first in the study.

        Raises
        ------
        NameNotFound
            If a user, an item or a context attribute isn't in the study.
        InputError
            If `k` isn't a positive whole number, a value is not one of its attribute's, or the context has no column of
            items or one twice.
        """
        return self._recommend(audience(self.data, self.weights, users), k, include_seen, context)

    def recommend_all(
        self, k: int = 10, *, include_seen: bool | None = None, context: ContextLike | None = None
    ) -> pd.DataFrame:
        """Return the best items of every user of the study; see `recommend`."""
        return self._recommend(audience(self.data, self.weights, None), k, include_seen, context)

    def scores(self, users: Sequence[str], *, context: ContextLike | None = None) -> Floats:
        """Return every item's score for each user, shape (users, items), seen items included."""
        who = audience(self.data, self.weights, users)
        given = read_context(self.data, context)
        constant = self._constant(who.centred, given)
        return self.base[None, :] + _causal(who.centred, *self._effects(given)) + constant[:, None]

    def explain(self, user: str | Mapping[str, Any], item: str, *, context: ContextLike | None = None) -> Explanation:
        """Take one score apart.

        Parameters
        ----------
        user
            Id of a user of the study, or the attributes of a new one.
        item
            Id of an item.
        context
            As in `recommend`.

        Raises
        ------
        NameNotFound
            If the user, the item or a context attribute isn't in the study.
        """
        who = audience(self.data, self.weights, pd.DataFrame([dict(user)]) if isinstance(user, Mapping) else [user])
        position = self._item(item)
        here = slice(position, position + 1)
        given = read_context(self.data, context)
        shown = {name: values[position] for name, values in self._item_values.items()} | given.of(position)
        h = {k: float(self._h[position, k]) for k in self._on_items} | given.shared_h(self.weights.terms)
        h |= {k: float(values[0]) for k, values in given.item_h(self.weights.terms, here).items()}
        contributions = list(self._contributions(who, h, shown))
        contributions.sort(key=lambda c: (-abs(c.contribution), c.edge))
        causal = float(_causal(who.centred, *self._effects(given, here))[0, 0])
        causal += float(self._constant(who.centred, given)[0])
        base = float(self.base[position])
        return Explanation(
            str(who.ids[0]),
            str(self.data.item_ids[position]),
            self.outcome.name,
            self.scale,
            base + causal,
            base,
            causal,
            self.base_name,
            self.strength,
            tuple(contributions),
        )

    def reasons(self, user: str | Mapping[str, Any], item: str, *, context: ContextLike | None = None) -> list[str]:
        """Return one short sentence per contribution to a score, in the study's language, largest first."""
        return self.explain(user, item, context=context).sentences(self.data.config.study.language)

    # scores

    def _effects(self, given: Context, items: slice = slice(None)) -> tuple[Floats, Floats]:
        """Return what items add for an average user, shape (items,), and per unit of modifier, (modifiers, items)."""
        shared, varying = self._shared[items], self._varying[:, items]
        for k, h in given.item_h(self.weights.terms, items).items():
            shared = shared + self.strength * self.weights.average[k] * h
            varying = varying + self.strength * self.weights.differences[:, k, None] * h
        return shared, varying

    def _constant(self, centred: Floats, given: Context) -> Floats:
        """Return what the context adds to every item's score alike, shape (users,)."""
        out = np.zeros(len(centred))
        for k, h in given.shared_h(self.weights.terms).items():
            weight = self.weights.average[k] + (centred * self.weights.differences[:, k]).sum(axis=1)
            out += self.strength * weight * h
        return out

    def _item(self, item: str) -> int:
        if str(item) not in self.data.item_index:
            near = [known for known in self.data.item_index if known[:1] == str(item)[:1]][:20_000]
            raise NameNotFound(f"no item {item!r} in this study{nearest(str(item), near)}")
        return self.data.item_index[str(item)]

    def _seen(self) -> tuple[Positions, Positions]:
        """Return the distinct (user, item) pairs with a positive outcome, sorted by user."""
        events = self.data.events
        positive = events[self.outcome.column].to_numpy(np.float64) > 0
        width = max(len(self.data.items), 1)
        pairs = np.unique(events["user"].to_numpy(np.int64)[positive] * width + events["item"].to_numpy()[positive])
        return (pairs // width).astype(np.intp), (pairs % width).astype(np.intp)

    # lists

    def _recommend(self, who: Audience, k: int, include_seen: bool | None, context: ContextLike | None) -> pd.DataFrame:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"k must be a positive whole number, got {k!r}")
        exclude = self.exclude_seen if include_seen is None else not include_seen
        given = read_context(self.data, context)
        constant, effects = self._constant(who.centred, given), self._effects(given)
        parts: list[tuple[Positions, Positions, Floats]] = []
        for start, items, causal in self._best(who, int(k), exclude, effects):
            kept = items >= 0
            row, place = np.nonzero(kept)
            parts.append((row + start, items[row, place], causal[row, place]))
        row, item, causal = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else _nothing()
        count = np.bincount(row, minlength=len(who))
        if len(who) and not count.all():
            empty = who.ids[count == 0]
            shown = ", ".join(map(repr, map(str, empty[:3])))
            warnings.warn(
                f"{len(empty)} users have no item left to recommend ({shown}): all were seen",
                WhyRankWarning,
                stacklevel=3,
            )
        causal = causal + constant[row]
        base = self.base[item]
        rank = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + 1
        columns = (
            who.ids[row].astype(object),
            self.data.item_ids[item].astype(object),
            rank,
            base + causal,
            base,
            causal,
        )
        return pd.DataFrame(dict(zip(RECOMMEND_COLUMNS, columns, strict=True)))

    def _best(
        self, who: Audience, k: int, exclude: bool, effects: tuple[Floats, Floats]
    ) -> Iterator[tuple[int, Positions, Floats]]:
        """Yield, chunk by chunk, its first row, the best items (-1 where none is left) and their causal parts."""
        size = max(1, _CHUNK_SCORES // max(len(self.data.items), 1))
        starts = range(0, len(who), size)
        with Progress(console=Console(stderr=True), transient=True, disable=len(starts) < 50) as progress:
            for start in progress.track(starts, description="Ranking"):
                kinds, kind_of = distinct_rows(who.centred[start : start + size])
                causal = _causal(kinds, *effects)
                scores = (self.base[None, :] + causal)[kind_of]
                if exclude:
                    scores[self._seen_by(who.positions[start : start + size])] = -np.inf
                best = top_n(scores, k)
                left = np.isfinite(np.take_along_axis(scores, best, axis=1))
                yield start, np.where(left, best, -1), causal[kind_of[:, None], best]

    def _seen_by(self, positions: Positions) -> tuple[Positions, Positions]:
        """Return row and item of everything that these users have seen."""
        first = np.searchsorted(self._seen_user, positions, side="left")
        count = np.searchsorted(self._seen_user, positions, side="right") - first
        row = np.repeat(np.arange(len(positions)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        return row, self._seen_item[first[row] + within]

    # reasons

    def _contributions(self, who: Audience, h: Mapping[int, float], shown: Mapping[str, Any]) -> Iterator[Contribution]:
        """Yield what each validated edge on the terms in `h` (centred values) adds for the one user in `who`."""
        weights = self.weights
        for k, centred in h.items():
            term = weights.terms[k]
            value = shown_value(term.attribute, shown[term.attribute.name])
            common = (value, term.mean + centred, term.mean)
            if term.verdict == "validated":
                yield Contribution(
                    term.attribute.name, term.level, term.label, term.verdict, *common,
                    term.weight, self.strength * term.weight * centred,
                )  # fmt: skip
            for d in weights.deviations:
                if d.term == k:
                    modifier = weights.modifiers[d.modifier].attribute
                    weight = d.weight * float(who.centred[0, d.modifier])
                    yield Contribution(
                        term.attribute.name, term.level, d.label, "validated", *common, weight,
                        self.strength * weight * centred, modifier.name, shown_value(modifier, who.value(modifier)),
                    )  # fmt: skip


def _causal(centred: Floats, shared: Floats, varying: Floats) -> Floats:
    """Return the causal part, shape (users, items); summed in a fixed order, so that equal users get equal bits."""
    out = np.repeat(shared[None, :], len(centred), axis=0)
    for m, effect in enumerate(varying):
        if effect.any():
            out += centred[:, m, None] * effect[None, :]
    return out


def _nothing() -> tuple[Positions, Positions, Floats]:
    return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
