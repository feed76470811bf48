"""Could an attribute be a cause of an outcome, and in which direction does it act? Votes on small batches.

Existence and direction are asked apart, each with its words in both orders and the attributes shuffled anew.
Confidence is the share of votes, never what a model says of itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from whyrank.agents.asking import Asker
from whyrank.agents.client import Question
from whyrank.agents.letters import Letters
from whyrank.agents.schemas import answered
from whyrank.edge import Sign

__all__ = ["Ballot", "Pair", "Vote", "ask_directions", "ask_existence"]

Pair = tuple[str, str]
"""Cause and effect."""

_BATCH = 7
_EXISTENCE = ("likely", "possible", "unlikely")
_DIRECTION = ("raises", "lowers", "unclear")
_SIGNS: Mapping[str, Sign] = {"raises": "+", "lowers": "-"}


@dataclass(frozen=True)
class Vote:
    """The word that a model gave one pair in one call; `order` says which way round the words were offered."""

    word: str
    order: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Ballot:
    """All votes on one pair."""

    votes: tuple[Vote, ...] = ()

    @property
    def share(self) -> float:
        """Share of votes for an effect; 0 without votes."""
        return sum(vote.word != "unlikely" for vote in self.votes) / len(self.votes) if self.votes else 0.0

    @property
    def sign(self) -> Sign:
        """The direction that most votes name under either order of the words; "" if the orders disagree."""
        named = set()
        for order in (0, 1):
            words = [vote.word for vote in self.votes if vote.order == order]
            named.add(next((word for word in _SIGNS if words.count(word) > len(words) / 2), ""))
        return _SIGNS.get(named.pop(), "") if len(named) == 1 else ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the calls behind the votes."""
        return tuple(dict.fromkeys(key for vote in self.votes for key in vote.keys))


def ask_existence(asker: Asker, letters: Letters, pairs: Sequence[Pair], *, samples: int) -> dict[Pair, Ballot]:
    """Ask whether each pair could be cause and effect; pairs without a usable answer are left out.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    return _vote(asker, letters, "causes", pairs, _EXISTENCE, samples=samples, what="possible causes")


def ask_directions(asker: Asker, letters: Letters, pairs: Sequence[Pair], *, samples: int) -> dict[Pair, Ballot]:
    """Ask in which direction each cause acts that has one (a category and a set have none).

    Raises
    ------
    ServerError
        If the server is gone.
    """
    attributes = letters.data.attributes
    ordered = [pair for pair in pairs if attributes[pair[0]].kind not in ("categorical", "set")]
    return _vote(asker, letters, "directions", ordered, _DIRECTION, samples=samples, what="directions")


def _vote(
    asker: Asker,
    letters: Letters,
    name: str,
    pairs: Sequence[Pair],
    words: Sequence[str],
    *,
    samples: int,
    what: str,
) -> dict[Pair, Ballot]:
    asked: list[tuple[Question[BaseModel], tuple[Pair, ...], int]] = []
    for effect, causes in _by_effect(pairs).items():
        for vote in range(2 * samples):
            order = vote % 2
            offered = tuple(words) if order == 0 else tuple(reversed(words))
            shuffled = letters.rng(name, effect, str(vote)).permutation(np.array(causes, dtype=object))
            for part in np.array_split(shuffled, math.ceil(len(causes) / _BATCH)):
                batch = [str(cause) for cause in part]
                question = letters.question(
                    name,
                    dict.fromkeys(batch, offered),
                    max_tokens=24 + sum(24 + len(cause) // 2 for cause in batch),  # whatever the tokenizer
                    sample=vote,
                    example=[batch[0], batch[-1]],
                    outcome=letters.data.outcomes[effect],
                    attributes=[letters.data.attributes[cause] for cause in batch],
                    words=offered,
                )
                asked.append((question, tuple((cause, effect) for cause in batch), order))
    replies = asker.ask_all([question for question, _, _ in asked], what=what)
    votes: dict[Pair, list[Vote]] = {}
    for (_, about, order), reply in zip(asked, replies, strict=True):
        said = answered(reply.answer) if reply.answer is not None else {}
        for pair in about:
            if pair[0] in said:
                votes.setdefault(pair, []).append(Vote(said[pair[0]], order, reply.keys))
    return {pair: Ballot(tuple(cast)) for pair, cast in votes.items()}


def _by_effect(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    causes: dict[str, list[str]] = {}
    for cause, effect in pairs:
        causes.setdefault(effect, []).append(cause)
    return causes
