"""Choosing one attribute among several: asked with the attributes in both orders, counted as votes.

A model that picks by place names another attribute when the order is turned round; one that knows names the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whyrank.agents.asking import Asker
from whyrank.agents.client import Question
from whyrank.agents.letters import NONE, Letters, short_sentence
from whyrank.agents.schemas import answered
from whyrank.datasets.study_data import Attribute

__all__ = ["Choice", "Pick", "pick_all"]

_SHOWN = 16
_REASON = "mechanism"


@dataclass(frozen=True)
class Choice:
    """One thing to be chosen.

    Attributes
    ----------
    prompt : name of the prompt.
    about : what it is about, so that its draw of candidates is its own.
    candidates : attributes that may be named; sixteen of them are shown, drawn at random where there are more.
    fields : parts of the answer that name an attribute or "none".
    reason : whether a sentence is asked for beside them.
    variables : the prompt's own.
    """

    prompt: str
    about: tuple[str, ...]
    candidates: tuple[Attribute, ...]
    fields: tuple[str, ...]
    reason: bool = True
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pick:
    """An attribute that was named: the share of votes that named it, the sentence that came with it, all the calls."""

    name: str
    share: float
    mechanism: str
    keys: tuple[str, ...]


def pick_all(
    asker: Asker, letters: Letters, choices: Sequence[Choice], *, samples: int, what: str
) -> list[tuple[Pick, ...]]:
    """Put each choice to the vote, 2 · `samples` votes each; returns what was named, most votes first.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    questions = [_question(letters, choice, vote) for choice in choices for vote in range(2 * samples)]
    answers = iter(asker.ask_all(questions, what=what))
    picked = []
    for choice in choices:
        votes: Counter[str] = Counter()
        reasons: dict[str, str] = {}
        keys: list[str] = []
        cast = 0
        for _ in range(2 * samples):
            reply = next(answers)
            keys += reply.keys
            if reply.answer is None:
                continue
            cast += 1
            said = answered(reply.answer)
            named = list(dict.fromkeys(said[part] for part in choice.fields if said[part] != NONE))
            votes.update(named)
            if named and not reasons.get(first := named[0]):
                reasons[first] = short_sentence(said.get(_REASON))
        picked.append(
            tuple(
                Pick(name, count / cast, reasons.get(name, ""), tuple(dict.fromkeys(keys)))
                for name, count in sorted(votes.items(), key=lambda one: (-one[1], one[0]))
            )
        )
    return picked


def _question(letters: Letters, choice: Choice, vote: int) -> Question[Any]:
    shown = letters.some(choice.candidates, _SHOWN, choice.prompt, *choice.about)
    if vote % 2:
        shown.reverse()
    words = [*(a.name for a in shown), NONE]
    fields: dict[str, Sequence[str] | None] = dict.fromkeys(choice.fields, words)
    if choice.reason:
        fields[_REASON] = None
    room = 16 + len(choice.fields) * (16 + letters.longest_name // 2) + (64 if choice.reason else 0)
    return letters.question(choice.prompt, fields, max_tokens=room, sample=vote, attributes=shown, **choice.variables)
