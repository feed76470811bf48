"""The rounds after the first: questions that the verdicts raise, and the hypotheses that answer them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from whyrank.agents.asking import Asker
from whyrank.agents.lessons import Agenda, Lesson, findings
from whyrank.agents.letters import Letters
from whyrank.agents.picks import Choice, Pick, pick_all
from whyrank.agents.propose import claims_about
from whyrank.datasets.study_data import Attribute
from whyrank.datasets.tiers import allowed, possible_modifiers
from whyrank.edge import Edge, Hypothesis

__all__ = ["next_round"]


@dataclass(frozen=True)
class _Round:
    """What all questions of one round share."""

    asker: Asker
    letters: Letters
    lessons: Sequence[Lesson]
    tested: Collection[Edge]
    samples: int
    number: int

    def claim(self, edge: Edge, pick: Pick) -> Hypothesis:
        return Hypothesis(
            edge,
            mechanism=pick.mechanism,
            source="llm",
            round=self.number,
            confidence=pick.share,
            call_keys=pick.keys,
        )

    def choice(
        self, prompt: str, lesson: Lesson, candidates: Sequence[Attribute], part: str, **variables: object
    ) -> Choice:
        data, edge = self.letters.data, lesson.edge
        given = {
            "outcome": data.outcomes[edge.effect],
            "cause": data.attributes[edge.cause],
            "findings": findings(self.lessons, edge.effect),
            **variables,
        }
        about = (str(edge), str(self.number))
        return Choice(prompt, about, tuple(candidates), (part,), variables=given)

    def pick(self, choices: Sequence[Choice], what: str) -> list[tuple[Pick, ...]]:
        return pick_all(self.asker, self.letters, choices, samples=self.samples, what=what)


def next_round(
    asker: Asker,
    letters: Letters,
    asked: Agenda,
    *,
    tested: Collection[Edge],
    samples: int,
    round: int,
) -> list[Hypothesis]:
    """Ask what the verdicts raise; returns hypotheses about edges not yet tested, or tested ones with an instrument.

    Effects that are undecided, found or known to vary: for whom do they differ? Effects that collapsed: what drives
    both ends? Effects behind something unmeasured: what moves the cause alone? Of what was never tested: what next?

    Parameters
    ----------
    asker, letters : whom to ask, and who writes.
    asked : what the verdicts so far raise.
    tested : edges that were proposed by anybody; they aren't proposed again.
    samples : votes for each order of the options.
    round : its number, from 2.

    Raises
    ------
    ServerError
        If the model server is gone.
    """
    now = _Round(asker, letters, asked.lessons, tested, samples, round)
    return [*_modifiers(now, asked), *_drivers(now, asked), *_instruments(now, asked), *_others(now)]


def _modifiers(now: _Round, asked: Agenda) -> list[Hypothesis]:
    choices, about = [], []
    for lesson in asked.modifiers:
        edge = lesson.edge
        untested = [
            a
            for a in possible_modifiers(edge.cause, edge.effect, now.letters.data)
            if Edge(edge.cause, edge.effect, a.name) not in now.tested
        ]
        if untested:
            undecided = not lesson.found
            choices.append(
                now.choice("modifiers", lesson, untested, "modifier", varies=lesson.varies, undecided=undecided)
            )
            about.append(edge)
    picked = now.pick(choices, "modifiers")
    return [
        now.claim(Edge(edge.cause, edge.effect, pick.name), pick)
        for edge, picks in zip(about, picked, strict=True)
        for pick in picks
    ]


def _drivers(now: _Round, asked: Agenda) -> list[Hypothesis]:
    """What drives both ends of an effect that collapsed acts on either: two edges, each tested where it can be."""
    data = now.letters.data
    choices, about = [], []
    for lesson in asked.confounders:
        edge = lesson.edge
        candidates = [
            a
            for a in data.attributes.values()
            if a.name != edge.cause and a.role != "ignore" and _new(now, _either(a.name, edge))
        ]
        if candidates:
            choices.append(now.choice("confounders", lesson, candidates, "driver"))
            about.append(edge)
    found = []
    for edge, picks in zip(about, now.pick(choices, "what drives both"), strict=True):
        for pick in picks:
            new = [one for one in _either(pick.name, edge) if _new(now, [one])]
            found += [now.claim(one, pick if one.effect == edge.cause else replace(pick, mechanism="")) for one in new]
    return found


def _either(driver: str, edge: Edge) -> list[Edge]:
    return [Edge(driver, edge.cause), Edge(driver, edge.effect)]


def _new(now: _Round, edges: Sequence[Edge]) -> bool:
    """Whether one of these edges can be tested and wasn't yet."""
    return any(edge not in now.tested and not allowed(edge, now.letters.data) for edge in edges)


def _instruments(now: _Round, asked: Agenda) -> list[Hypothesis]:
    """The same edge again, with what may identify it; only something that the user declared makes it needed."""
    data = now.letters.data
    if not data.config.graph.unmeasured:
        return []
    choices, about = [], []
    for lesson in asked.instruments:
        cause = lesson.edge.cause
        candidates = [a for a in data.attributes.values() if a.name != cause and not allowed(Edge(a.name, cause), data)]
        if candidates:
            choices.append(now.choice("instruments", lesson, candidates, "instrument"))
            about.append(lesson.edge)
    picked = now.pick(choices, "instruments")
    return [
        replace(now.claim(edge, picks[0]), instruments=tuple(pick.name for pick in picks))
        for edge, picks in zip(about, picked, strict=True)
        if picks
    ]


def _others(now: _Round) -> list[Hypothesis]:
    """Attributes that the first round thought nothing of, in the light of what was found."""
    data = now.letters.data
    choices, about = [], []
    for effect, outcome in data.outcomes.items():
        candidates = [a for a in data.attributes.values() if a.name != effect and _new(now, [Edge(a.name, effect)])]
        said = findings(now.lessons, effect)
        if candidates and said:
            choices.append(
                Choice(
                    "others",
                    (effect, str(now.number)),
                    tuple(candidates),
                    ("cause", "second"),
                    reason=False,
                    variables={"outcome": outcome, "findings": said},
                )
            )
            about.append(effect)
    picked = now.pick(choices, "what to test next")
    claims = [
        now.claim(Edge(pick.name, effect), pick) for effect, picks in zip(about, picked, strict=True) for pick in picks
    ]
    return claims_about(now.asker, now.letters, claims, samples=now.samples)
