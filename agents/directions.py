r"""Which of two things causes the other, as a model sees it: by votes, or by how likely it finds the sentences.

A model of a hundred million parameters answers by place: asked "A or B?" with the two things changed round it
contradicts itself. How
likely it finds "Changing u causes a change in v.", beside the same with u and v changed round, tells more; less so if
one of the two is simply the more frequent phrase, which is taken off:

.. math:: D = [\log P(u \to v) - \log P(\cdot \to v)] - [\log P(v \to u) - \log P(\cdot \to u)]

with :math:`\cdot \to v` "Something causes a change in v." (compare pointwise mutual information).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from whyrank.agents.client import Client, Progress, Question, Usage
from whyrank.agents.likelihood import Likelihood, Scored, likelihood_usage, score_all
from whyrank.agents.schemas import answer_model, answered
from whyrank.prompts import Language, load_prompt

__all__ = ["STRATEGIES", "Direction", "DirectionStrategy", "ask_directions_of", "plausibility"]

DirectionStrategy = Literal["single", "both orders", "votes", "likelihood", "normalised likelihood"]
"""One question; one with the pair changed round too; several samples of both; sentences; those less their frequency."""

STRATEGIES: tuple[DirectionStrategy, ...] = ("single", "both orders", "votes", "likelihood", "normalised likelihood")

_MEANINGS = ("forward", "backward", "neither")
_TURNED = {"forward": "backward", "backward": "forward", "neither": "neither"}
_LETTERS = ("A", "B", "C")
_START = {"en": ("Changing", "Something"), "zh": ("改变", "某件事")}
"""How the two sentences begin; a likelihood needs something that it follows."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Direction:
    """What a model says of a pair.

    Attributes
    ----------
    lean : above 0 if the first causes the second, below if the second causes the first, 0 if it can't tell; difference
        of vote shares, or nats.
    forward, backward : vote shares (0 for likelihoods).
    keys : of the calls.
    answered : whether there was any usable answer.
    """

    lean: float
    forward: float = 0.0
    backward: float = 0.0
    keys: tuple[str, ...] = ()
    answered: bool = True


def ask_directions_of(
    client: Client,
    pairs: Sequence[Pair],
    *,
    strategy: DirectionStrategy,
    language: Language = "en",
    samples: int = 3,
    progress: Progress | None = None,
) -> tuple[list[Direction], Usage]:
    """Ask about pairs of things in words; returns what was said of each, and what it cost.

    Parameters
    ----------
    client : whom to ask; likelihoods need a backend that tells them.
    pairs : two phrases each.
    strategy : how.
    language : of the question.
    samples : for "votes": answers in each order.
    progress : called with what is being asked and how much of it is done.

    Raises
    ------
    InputError
        If likelihoods are asked of a backend that gives none.
    ServerError
        If the server is gone.
    """
    if strategy in ("likelihood", "normalised likelihood"):
        return _by_likelihood(client, pairs, strategy == "normalised likelihood", language, progress)
    orders = 1 if strategy == "single" else 2
    draws = samples if strategy == "votes" else 1
    questions = [
        _question(pair, order, draw, language, warm=strategy == "votes")
        for pair in pairs
        for draw in range(draws)
        for order in range(orders)
    ]
    answers = client.ask_all(questions, what="directions of causes", progress=progress)
    found, each = [], orders * draws
    for i in range(len(pairs)):
        mine = answers[i * each : (i + 1) * each]
        said: list[str] = []
        for j, answer in enumerate(mine):
            if answer.answer is not None:
                draw, order = divmod(j, orders)
                meaning = _options(draw)[_LETTERS.index(answered(answer.answer)["answer"])]
                said.append(_TURNED[meaning] if order else meaning)
        keys = tuple(dict.fromkeys(key for answer in mine for key in answer.keys))
        shares = [said.count(word) / len(said) if said else 0.0 for word in ("forward", "backward")]
        found.append(Direction(shares[0] - shares[1], shares[0], shares[1], keys, bool(said)))
    return found, Usage.of(answers)


def plausibility(
    client: Client, pairs: Sequence[Pair], *, language: Language = "en", progress: Progress | None = None
) -> tuple[list[Direction], Usage]:
    """Return how much likelier each effect is after its cause than after "something", in nats (as `lean`).

    Raises
    ------
    InputError
        If the backend gives no likelihoods.
    ServerError
        If the server is gone.
    """
    texts = [text for u, v in pairs for text in (_whole(u, v, language), _alone(v, language))]
    scores = score_all(client, texts, progress=progress)
    found = []
    for i in range(len(pairs)):
        one, other = scores[2 * i : 2 * i + 2]
        found.append(
            Direction(0.0, answered=False)
            if one is None or other is None
            else Direction(one.logprob - other.logprob, keys=_keys(one, other))
        )
    return found, likelihood_usage(scores)


def _by_likelihood(
    client: Client, pairs: Sequence[Pair], normalised: bool, language: Language, progress: Progress | None
) -> tuple[list[Direction], Usage]:
    texts: list[Scored] = []
    for u, v in pairs:
        texts += [_whole(u, v, language), _whole(v, u, language)]
        if normalised:
            texts += [_alone(v, language), _alone(u, language)]
    scores = score_all(client, texts, progress=progress)
    each = 4 if normalised else 2
    found = []
    for i in range(len(pairs)):
        told = [score for score in scores[i * each : (i + 1) * each] if score is not None]
        if len(told) < each:
            found.append(Direction(0.0, answered=False))
            continue
        lean = told[0].logprob - told[1].logprob
        if normalised:
            lean -= told[2].logprob - told[3].logprob
        found.append(Direction(lean, keys=_keys(*told)))
    return found, likelihood_usage(scores)


def _question(pair: Pair, order: int, draw: int, language: Language, *, warm: bool) -> Question[BaseModel]:
    """The question; in the second order the pair is changed round, so that neither a place nor a letter wins."""
    first, second = pair if order == 0 else pair[::-1]
    prompt = load_prompt("critic_direction", language).render(
        first=first, second=second, options=list(zip(_LETTERS, _options(draw), strict=True))
    )
    schema = answer_model({"answer": _LETTERS})
    temperature = 0.7 if warm else 0.0
    return Question(prompt, schema, prompt.name, sample=draw, max_tokens=24, temperature=temperature)


def _options(draw: int) -> tuple[str, ...]:
    """What the letters stand for: every second sample begins with "neither"."""
    return _MEANINGS if draw % 2 == 0 else _MEANINGS[::-1]


def _whole(cause: str, effect: str, language: Language) -> Scored:
    return _scored(load_prompt("sentence", language).render(cause=cause, effect=effect).text, _START[language][0])


def _alone(effect: str, language: Language) -> Scored:
    return _scored(load_prompt("sentence_alone", language).render(effect=effect).text, _START[language][1])


def _scored(sentence: str, start: str) -> Scored:
    return Scored(start, sentence.removeprefix(start))


def _keys(*told: Likelihood) -> tuple[str, ...]:
    return tuple(dict.fromkeys(score.key for score in told if score.key))
