"""What the verdicts teach the proposer: one lesson an edge, without a number, since numbers stay out of prompts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from whyrank.edge import Edge

__all__ = ["Agenda", "Lesson", "Word", "agenda", "findings"]

Word = Literal["validated", "refuted", "inconclusive", "unidentifiable"]
"""The verdicts, as the verdict table writes them."""

_ORDER: tuple[Word, ...] = ("validated", "refuted", "inconclusive", "unidentifiable")

MOST_EFFECTS = 12
"""Effects that one round asks about for each reason."""

MOST_FINDINGS = 12
"""Verdicts that one prompt names."""


@dataclass(frozen=True)
class Lesson:
    """What the verdicts on the contrasts of one edge come to.

    Attributes
    ----------
    edge : the edge.
    verdict : of its contrasts: validated if one is, else refuted if all are, else inconclusive, else unidentifiable.
    reversed : it was refuted because the effect, which there is, goes the other way than was claimed.
    varies : the effect was found to differ with some attribute.
    collapsed : cause and effect go together, and adjustment takes that away.
    thin : too few users or items carry the cause for anything to be found, whoever is asked about.
    p_value : the smallest of its contrasts; 1 where nothing was tested.
    """

    edge: Edge
    verdict: Word
    reversed: bool = False
    varies: bool = False
    collapsed: bool = False
    thin: bool = False
    p_value: float = 1.0

    @property
    def found(self) -> bool:
        """Whether there is an effect, whichever way it goes."""
        return self.verdict == "validated" or self.reversed


@dataclass(frozen=True)
class Agenda:
    """What the next round asks about, the most telling first.

    Attributes
    ----------
    modifiers : effects that are undecided, that were found, or that are known to vary: for whom do they differ?
    confounders : effects that collapsed: what drives both ends?
    instruments : effects that can't be told because of something unmeasured: what moves the cause alone?
    lessons : everything that was learned.
    """

    modifiers: tuple[Lesson, ...] = ()
    confounders: tuple[Lesson, ...] = ()
    instruments: tuple[Lesson, ...] = ()
    lessons: tuple[Lesson, ...] = ()


def agenda(lessons: Sequence[Lesson], outcomes: Collection[str]) -> Agenda:
    """Read the verdicts: which effects on `outcomes` are worth another question, and which question.

    Examples
    --------
    >>> price = Lesson(Edge.parse("items.price -> events.click"), "inconclusive", p_value=0.2)
    >>> badge = Lesson(Edge.parse("items.badge -> events.click"), "refuted", collapsed=True)
    >>> asked = agenda([price, badge], ["events.click"])
    >>> [str(l.edge) for l in asked.modifiers], [str(l.edge) for l in asked.confounders]
    (['items.price -> events.click'], ['items.badge -> events.click'])
    """
    plain = [x for x in lessons if x.edge.modifier is None and x.edge.effect in outcomes]
    worth = [x for x in plain if not x.thin and (x.varies or x.found or x.verdict == "inconclusive")]
    worth.sort(key=lambda x: (x.varies, x.found, x.p_value, str(x.edge)))
    gone = sorted((x for x in plain if x.collapsed), key=lambda x: str(x.edge))
    blocked = sorted((x for x in plain if x.verdict == "unidentifiable"), key=lambda x: str(x.edge))
    most = MOST_EFFECTS
    return Agenda(tuple(worth[:most]), tuple(gone[:most]), tuple(blocked[:most]), tuple(lessons))


def findings(lessons: Sequence[Lesson], effect: str) -> list[Lesson]:
    """Return the verdicts on one outcome that a prompt names, decided ones first."""
    about = [x for x in lessons if x.edge.effect == effect]
    about.sort(key=lambda x: (_ORDER.index(x.verdict), x.p_value, str(x.edge)))
    return about[:MOST_FINDINGS]
