"""What is asked of a model, and what becomes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from whyrank.agents.backend import Message
from whyrank.agents.schemas import Schema
from whyrank.prompts import RenderedPrompt

__all__ = ["Answered", "Question", "Turn", "Usage", "by_shared_beginning", "first_turn"]

A = TypeVar("A", bound=BaseModel)

_BEGINNINGS = (256, 1024, 4096)
"""Lengths at which prompts that begin alike are put together."""


@dataclass(frozen=True)
class Question(Generic[A]):
    """One thing asked of a model.

    Attributes
    ----------
    prompt : rendered; its text is what is sent.
    schema : what the answer must be.
    purpose : for the record, e.g. "causes".
    sample : the same question with another sample number is another draw.
    max_tokens, temperature : as the server understands them.
    """

    prompt: RenderedPrompt
    schema: Schema[A]
    purpose: str
    sample: int = 0
    max_tokens: int = 256
    temperature: float = 0.7


@dataclass(frozen=True)
class Answered(Generic[A]):
    """What became of a question.

    Attributes
    ----------
    answer : validated; None if three tries gave nothing usable.
    keys : of the calls it took, in order.
    failures : what was wrong with each call that couldn't be used ("kind: sentence").
    cached : how many of the calls were answered by the store.
    retried : kinds of the failures after which a request was simply sent again, and then answered.
    tokens_in, tokens_out : of the calls that were sent, as the server counts them.
    """

    answer: A | None
    keys: tuple[str, ...]
    failures: tuple[str, ...] = ()
    cached: int = 0
    retried: tuple[str, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Usage:
    """What a set of questions cost.

    Attributes
    ----------
    questions, unanswered : asked, and given up after three tries.
    calls, cached : requests sent to the model, and requests that the store answered.
    failures : unusable calls by kind, sent or cached.
    retried : requests sent again because there was no reply, by kind; they aren't calls.
    tokens_in, tokens_out : of the calls, as the server counts them.
    """

    questions: int = 0
    unanswered: int = 0
    calls: int = 0
    cached: int = 0
    failures: Mapping[str, int] | None = None
    retried: Mapping[str, int] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0

    @classmethod
    def of(cls, answers: Sequence[Answered[Any]]) -> Usage:
        """Add up answers."""
        cached = sum(answer.cached for answer in answers)
        return cls(
            questions=len(answers),
            unanswered=sum(answer.answer is None for answer in answers),
            calls=sum(len(answer.keys) for answer in answers) - cached,
            cached=cached,
            failures=_count(failure.partition(":")[0] for answer in answers for failure in answer.failures),
            retried=_count(kind for answer in answers for kind in answer.retried),
            tokens_in=sum(answer.tokens_in for answer in answers),
            tokens_out=sum(answer.tokens_out for answer in answers),
        )

    def __add__(self, other: Usage) -> Usage:
        """Add up what two sets of questions cost.

        Examples
        --------
        >>> both = Usage(2, 1, 3, 0, {"cut": 1}) + Usage(1, 0, 0, 1, {"cut": 1, "empty": 2})
        >>> both.questions, both.calls, both.cached, both.failures
        (3, 3, 1, {'cut': 2, 'empty': 2})
        """
        return Usage(
            questions=self.questions + other.questions,
            unanswered=self.unanswered + other.unanswered,
            calls=self.calls + other.calls,
            cached=self.cached + other.cached,
            failures=_sum(self.failures, other.failures),
            retried=_sum(self.retried, other.retried),
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
        )


@dataclass(frozen=True)
class Turn:
    """One call about to be made: a question on its way to an answer."""

    index: int
    question: Question[Any]
    messages: tuple[Message, ...]
    max_tokens: int
    attempt: int = 1
    so_far: Answered[Any] = Answered(None, ())


def first_turn(index: int, question: Question[Any]) -> Turn:
    """Return the first call that a question takes."""
    return Turn(index, question, tuple(question.prompt.messages), question.max_tokens)


def by_shared_beginning(questions: Sequence[Question[Any]]) -> list[int]:
    """Return the order in which to ask: those that begin alike one after the other, else as given.

    A server that caches prefixes reads the beginning once.
    """
    seen: dict[int, int] = {}
    ranks = []
    for index, question in enumerate(questions):
        text = question.prompt.text
        heads = [seen.setdefault(hash(text[:length]), index) for length in _BEGINNINGS if len(text) >= length]
        ranks.append((*heads, *[index] * (len(_BEGINNINGS) + 1 - len(heads))))
    return sorted(range(len(questions)), key=ranks.__getitem__)


def _count(kinds: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(kinds).items()))


def _sum(a: Mapping[str, int] | None, b: Mapping[str, int] | None) -> dict[str, int]:
    return dict(sorted((Counter(a or {}) + Counter(b or {})).items()))
