"""The proposing model: which attributes could cause an outcome, in which direction, how, and for whom.

Small questions with small schemas, so that a model of a hundred million parameters can answer them and a large one
isn't hindered: whether an attribute could be a cause, and in which direction it acts, are asked apart, each with its
options in both orders and the attributes shuffled anew. Confidence is the share of votes, never what a model says of
itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from pydantic import BaseModel

from whyrank.agents.catalogue import sample_texts
from whyrank.agents.client import Answered, Client, Progress, Question, Usage
from whyrank.agents.schemas import answer_model, answered
from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.datasets.tiers import allowed, possible_modifiers
from whyrank.edge import Edge, Hypothesis, Sign
from whyrank.prompts import RenderedPrompt, load_prompt

__all__ = ["Proposal", "propose_llm"]

_BATCH = 7
_PEOPLE_SHOWN = 6
_SHOWN = 16
_TEXTS_SHOWN = 4
_TEMPERATURE = 0.4
_LONGEST_MECHANISM = 200
_NONE = "none"
_EXISTENCE = ("likely", "possible", "unlikely")
_DIRECTION = ("raises", "lowers", "unclear")
_SIGNS: Mapping[str, Sign] = {"raises": "+", "lowers": "-"}

_Pair = tuple[str, str]
"""Cause and effect."""


@dataclass(frozen=True)
class Proposal:
    """What a model proposed, and what it cost.

    Attributes
    ----------
    hypotheses : in the study's order of outcomes and causes; an edge with a modifier follows the edge without.
    usage : calls, cached calls and failures by kind; invented names are the kind "unknown_name".
    considered : pairs of attribute and outcome that the model was asked about.
    unanswered : of those, the pairs on which it gave no usable answer.
    """

    hypotheses: tuple[Hypothesis, ...]
    usage: Usage
    considered: int
    unanswered: int


@dataclass(frozen=True)
class _Vote:
    """The word that a model gave one pair in one call; `order` says which way round the words were offered."""

    word: str
    order: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class _Asked:
    """A question, and what it was about."""

    question: Question[BaseModel]
    pairs: tuple[_Pair, ...]
    order: int = 0


def propose_llm(
    data: StudyData,
    client: Client,
    *,
    seed: int,
    round: int = 1,
    samples: int = 1,
    progress: Progress | None = None,
) -> Proposal:
    """Ask a model for hypotheses about every outcome.

    Parameters
    ----------
    data
        The study. Attributes with role "any" may be proposed as causes, those of people as modifiers.
    client
        Whom to ask. What its store holds is not asked again.
    seed
        Of the shuffles and of the catalogue texts shown.
    round
        Written into the hypotheses.
    samples
        Votes for each order of the options, so that 2 · `samples` votes are cast on each attribute.

    Raises
    ------
    ServerError
        If the model server is gone.
    """
    pairs = [(c, e) for e in data.outcomes for c in data.attributes if c != e and not allowed(Edge(c, e), data)]

    asked = _votes_to_ask("causes", pairs, _EXISTENCE, data, seed, samples)
    replies = client.ask_all([a.question for a in asked], what="possible causes", progress=progress)
    existence = _votes(asked, replies)
    accepted = [pair for pair in pairs if pair in existence and _share(existence[pair]) >= 0.5]

    ordered = [pair for pair in accepted if data.attributes[pair[0]].kind not in ("categorical", "set")]
    asked = _votes_to_ask("directions", ordered, _DIRECTION, data, seed, samples)
    direction_replies = client.ask_all([a.question for a in asked], what="directions", progress=progress)
    directions = _votes(asked, direction_replies)

    asked = [_details_to_ask(pair, data, seed) for pair in accepted]
    detail_replies = client.ask_all([a.question for a in asked], what="mechanisms", progress=progress)

    hypotheses: list[Hypothesis] = []
    for pair, details in zip(accepted, detail_replies, strict=True):
        votes = [*existence[pair], *directions.get(pair, ())]
        keys = dict.fromkeys([key for vote in votes for key in vote.keys])
        hypotheses += _hypotheses(
            Hypothesis(
                edge=Edge(*pair),
                claimed_sign=_sign(directions.get(pair, ())),
                source="llm",
                round=round,
                confidence=_share(existence[pair]),
                call_keys=tuple(keys),
            ),
            details,
        )
    return Proposal(
        hypotheses=tuple(hypotheses),
        usage=Usage.of([*replies, *direction_replies, *detail_replies]),
        considered=len(pairs),
        unanswered=len(pairs) - len(existence),
    )


def _votes_to_ask(
    name: str, pairs: Sequence[_Pair], words: Sequence[str], data: StudyData, seed: int, samples: int
) -> list[_Asked]:
    """Questions about a few attributes of one outcome each, shuffled anew for each vote, the words in both orders."""
    asked = []
    for outcome in data.outcomes.values():
        causes = [cause for cause, effect in pairs if effect == outcome.name]
        for vote in range(2 * samples if causes else 0):
            order = vote % 2
            offered = tuple(words) if order == 0 else tuple(reversed(words))
            shuffled = _rng(seed, name, outcome.name, str(vote)).permutation(np.array(causes, dtype=object))
            for part in np.array_split(shuffled, math.ceil(len(causes) / _BATCH)):
                batch = [str(cause) for cause in part]
                variables: dict[str, Any] = (
                    {"samples": sample_texts(data, _TEXTS_SHOWN, seed)} if name == "causes" else {}
                )
                prompt = load_prompt(name, data.config.study.language).render(
                    study=data.config.study.name,
                    outcome=outcome,
                    attributes=[data.attributes[cause] for cause in batch],
                    words=offered,
                    example=_example([batch[0], batch[-1]]),
                    **variables,
                )
                asked.append(
                    _Asked(
                        _question(
                            prompt, answer_model(dict.fromkeys(batch, offered)), 24 + _tokens(batch), sample=vote
                        ),
                        tuple((cause, outcome.name) for cause in batch),
                        order,
                    )
                )
    return asked


def _votes(asked: Sequence[_Asked], replies: Sequence[Answered[BaseModel]]) -> dict[_Pair, list[_Vote]]:
    votes: dict[_Pair, list[_Vote]] = {}
    for one, reply in zip(asked, replies, strict=True):
        words = answered(reply.answer) if reply.answer is not None else {}
        for pair in one.pairs:
            if pair[0] in words:
                votes.setdefault(pair, []).append(_Vote(words[pair[0]], one.order, reply.keys))
    return votes


def _details_to_ask(pair: _Pair, data: StudyData, seed: int) -> _Asked:
    """How would it work, what could confound it, and for whom does it differ?

    All questions about one outcome begin alike, with the same attributes, which servers that cache prefixes read once.
    """
    cause, effect = pair
    rng = _rng(seed, "details", effect)
    usable = [a for a in data.attributes.values() if a.role != "ignore"]
    people = _some([a for a in usable if a.table == "users"], _PEOPLE_SHOWN, rng)
    shown = [*people, *_some([a for a in usable if a.table != "users"], _SHOWN - len(people), rng)]
    modifiers = (
        [] if cause.startswith("users.") else [a for a in people if a in possible_modifiers(cause, effect, data)]
    )
    fields: dict[str, Sequence[str] | None] = {"confounder": [*(a.name for a in shown if a.name != cause), _NONE]}
    if modifiers:
        fields["modifier"] = [*(m.name for m in modifiers), _NONE]
    fields["mechanism"] = None
    prompt = load_prompt("details", data.config.study.language).render(
        study=data.config.study.name,
        outcome=data.outcomes[effect],
        attributes=shown,
        cause=data.attributes[cause],
        modifiers=modifiers,
        example=_example(list(fields)),
    )
    longest = max(len(name) for name in data.attributes)
    return _Asked(_question(prompt, answer_model(fields), 60 + longest), (pair,))


def _hypotheses(base: Hypothesis, details: Answered[BaseModel]) -> list[Hypothesis]:
    """The hypothesis with its details, and the one with a modifier if the model named one."""
    said = answered(details.answer) if details.answer is not None else {}
    confounder, modifier = said.get("confounder", _NONE), said.get("modifier", _NONE)
    mechanism = " ".join(said.get("mechanism", "").split())[:_LONGEST_MECHANISM]
    whole = replace(
        base,
        mechanism=mechanism if _is_sentence(mechanism) else "",
        confounders=() if confounder == _NONE else (confounder,),
        modifiers=() if modifier == _NONE else (modifier,),
        call_keys=(*base.call_keys, *details.keys),
    )
    if modifier == _NONE:
        return [whole]
    edge = Edge(base.edge.cause, base.edge.effect, modifier)
    return [whole, replace(whole, edge=edge, claimed_sign="", modifiers=(), confidence=None)]


def _is_sentence(text: str) -> bool:
    """Whether it is more than a name or a mark, which is what very small models may give."""
    return len(text.split()) > 1 or (len(text) > 3 and not text.isascii())


def _share(votes: Sequence[_Vote]) -> float:
    """Share of votes for an effect."""
    return sum(vote.word != "unlikely" for vote in votes) / len(votes)


def _sign(votes: Sequence[_Vote]) -> Sign:
    """The direction that most votes name under either order of the words; "" if the orders disagree."""
    named = set()
    for order in (0, 1):
        words = [vote.word for vote in votes if vote.order == order]
        named.add(next((word for word in _SIGNS if words.count(word) > len(words) / 2), ""))
    return _SIGNS.get(named.pop(), "") if len(named) == 1 else ""


def _question(
    prompt: RenderedPrompt, schema: type[BaseModel], max_tokens: int, *, sample: int = 0
) -> Question[BaseModel]:
    return Question(prompt, schema, prompt.name, sample=sample, max_tokens=max_tokens, temperature=_TEMPERATURE)


def _tokens(names: Sequence[str]) -> int:
    """Enough tokens for each name, a word and some white space, whatever the tokenizer."""
    return sum(24 + len(name) // 2 for name in names)


def _example(names: Sequence[str]) -> str:
    return json.dumps(dict.fromkeys(names, "..."), ensure_ascii=False, separators=(",", ":"))


def _some(attributes: Sequence[Attribute], most: int, rng: np.random.Generator) -> list[Attribute]:
    """At most so many of them, drawn at random, in their own order."""
    if len(attributes) <= most:
        return list(attributes)
    return [attributes[i] for i in sorted(rng.choice(len(attributes), size=most, replace=False))]


def _rng(seed: int, *what: str) -> np.random.Generator:
    """A stream for each question, so that a further attribute or outcome leaves the other questions as they were."""
    return np.random.default_rng([seed, crc32("/".join(what).encode())])
