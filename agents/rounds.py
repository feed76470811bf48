"""Rounds of the hypothesis loop: how far it may go, what each came to, and where that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from whyrank.edge import Hypothesis

__all__ = ["LoopOptions", "LoopResult", "Memory", "MemoryOfRounds", "Round"]


@dataclass(frozen=True)
class LoopOptions:
    """How far the loop goes.

    Attributes
    ----------
    rounds : at most so many.
    samples : votes for each order of the options.
    max_calls : no further question is asked once so many calls were made, in all rounds; None for no end.
    max_edges : at most so many edges of the model are tested, in all rounds, the most promising first; None for all.
    """

    rounds: int = 1
    samples: int = 1
    max_calls: int | None = None
    max_edges: int | None = None


@dataclass(frozen=True)
class Round:
    """What one round came to.

    Attributes
    ----------
    number : 1 for the first.
    proposed : hypotheses that the model's answers gave.
    merged : of those, what was said twice, was known, or is about a column that holds the values of another.
    dropped : what the critic didn't let through.
    left_out : what the budget of tested edges has no room for.
    kept : what is left, to be tested.
    questions, unanswered, calls : asked, given up, and calls made (sent, or answered by the store).
    failures : unusable calls by kind.
    notes : sentences for the user, such as cycles that were broken.
    passed_over : the edges that were left out. They were chosen against with a look at the data, so that the
        verdicts count them as tests that found nothing.
    """

    number: int
    proposed: int = 0
    merged: int = 0
    dropped: int = 0
    left_out: int = 0
    kept: int = 0
    questions: int = 0
    unanswered: int = 0
    calls: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoopResult:
    """What the loop came to: all its rounds, and the calls made now (sent to the model, answered by the store)."""

    rounds: tuple[Round, ...] = ()
    calls: int = 0
    cached: int = 0


class Memory(Protocol):
    """Keeps rounds."""

    def finished(self, round: int) -> Round | None:
        """Return what a round came to; None if it isn't finished."""

    def known(self, round: int) -> Sequence[Hypothesis]:
        """Return every hypothesis of the model's rounds up to this one, and every one of other sources."""

    def keep(self, round: Round, hypotheses: Sequence[Hypothesis]) -> None:
        """Keep a finished round and what came of it."""


class MemoryOfRounds:
    """Keeps rounds as long as the process lasts; `others` are hypotheses that don't come from the model."""

    def __init__(self, others: Sequence[Hypothesis] = ()) -> None:
        self._others = tuple(others)
        self._rounds: dict[int, tuple[Round, tuple[Hypothesis, ...]]] = {}

    def finished(self, round: int) -> Round | None:
        """Return what a round came to; None if it isn't finished."""
        return self._rounds[round][0] if round in self._rounds else None

    def known(self, round: int) -> list[Hypothesis]:
        """Return every hypothesis of the rounds up to this one, and the others."""
        return [*self._others, *(h for n, (_, found) in self._rounds.items() if n <= round for h in found)]

    def keep(self, round: Round, hypotheses: Sequence[Hypothesis]) -> None:
        """Keep a finished round and what came of it."""
        self._rounds[round.number] = round, tuple(hypotheses)
