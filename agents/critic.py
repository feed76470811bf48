"""The critic: looks at claims before anything is tested, and asks in ways that expose guessing.

Whether there is an effect at all is put to the vote where claims are proposed. Here it is asked which of two attributes
drives the other, "neither" allowed; the claims that lose are dropped, circles are broken, and where the server tells
likelihoods every claim gets one. Nothing here is evidence: what passes is only tested earlier, or at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from whyrank.agents.client import Client, Progress, Usage
from whyrank.agents.cycles import BrokenCycle, break_cycles
from whyrank.agents.directions import Direction, DirectionStrategy, ask_directions_of, plausibility
from whyrank.agents.sequence_scores import ScoringBackend
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.tiers import allowed
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError, ServerError
from whyrank.prompts import Language

__all__ = ["CriticStrategy", "Criticism", "choose_strategy", "criticise", "phrase"]

CriticStrategy = Literal["auto", "votes", "likelihood"]
"""Asked for: votes, likelihoods, or whichever suits the model."""

EVIDENT: Mapping[Language, tuple[tuple[str, str], ...]] = {
    "en": (
        ("the rain in a town", "how wet its streets are"),
        ("how late an alarm clock rings", "the hour at which one gets up"),
        ("the price of petrol", "how much people drive"),
        ("hours of sunlight", "how fast a plant grows"),
        ("the number of cigarettes smoked", "the risk of lung cancer"),
        ("the speed of a car", "its braking distance"),
        ("a heat wave", "how much ice cream is sold"),
        ("the amount of salt in a soup", "how salty the soup tastes"),
    ),
    "zh": (
        ("城里的降雨量", "街道的潮湿程度"),
        ("闹钟响的时间", "起床的时间"),
        ("汽油价格", "人们开车的多少"),
        ("日照时间", "植物生长的快慢"),
        ("吸烟数量", "患肺癌的风险"),
        ("汽车的速度", "刹车距离"),
        ("热浪", "冰淇淋的销量"),
        ("汤里放的盐量", "汤的咸度"),
    ),
}
"""Pairs, cause first, of which everybody knows which drives the other: what a model's votes are trusted by."""

TRUSTED = 0.75
"""Share of evident pairs that votes must get right in both orders to be preferred."""

_LONGEST_PHRASE = 80


@dataclass(frozen=True)
class Criticism:
    """What the critic made of a list of claims.

    Attributes
    ----------
    hypotheses : those that pass, with votes and likelihoods added, in their order.
    dropped : those that don't, each with the reason.
    usage : what it cost.
    cycles : circles that were broken.
    strategy : what was asked in the end.
    """

    hypotheses: tuple[Hypothesis, ...]
    dropped: tuple[tuple[Hypothesis, str], ...]
    usage: Usage
    cycles: tuple[BrokenCycle, ...] = ()
    strategy: DirectionStrategy = "votes"


def criticise(
    hypotheses: Sequence[Hypothesis],
    data: StudyData,
    client: Client,
    *,
    strategy: CriticStrategy = "auto",
    samples: int = 1,
    progress: Progress | None = None,
) -> Criticism:
    """Look at claims; where votes are asked, an edge that could as well go the other way must win over that.

    Likelihoods drop nothing: what a small model's are right about is how common the phrases are (docs/critic.md). They
    go with the claims, into the order of testing, and decide between two claims that contradict each other.

    Parameters
    ----------
    hypotheses : the claims.
    data : the study.
    client : whom to ask.
    strategy : see `CriticStrategy`.
    samples : votes in each order.
    progress : called with what is being asked and how much of it is done.

    Raises
    ------
    InputError
        If likelihoods are asked of a server that gives none.
    ServerError
        If the server is gone.
    """
    language = data.config.study.language
    chosen, usage = choose_strategy(client, strategy, language=language, samples=samples, progress=progress)
    claims = list(hypotheses)
    if chosen == "normalised likelihood":
        claims, cost = _with_likelihoods(claims, data, client, language, progress)
        usage += cost
    pairs = dict.fromkeys((h.edge.cause, h.edge.effect) for h in claims)
    either = [pair for pair in pairs if chosen != "normalised likelihood" and _either_way(pair, data)]
    phrases = [(phrase(cause, data), phrase(effect, data)) for cause, effect in either]
    said, cost = ask_directions_of(
        client, phrases, strategy=chosen, language=language, samples=samples, progress=progress
    )
    usage += cost
    leans = dict(zip(either, said, strict=True))
    passed: list[Hypothesis] = []
    dropped: list[tuple[Hypothesis, str]] = []
    for h in claims:
        lean = leans.get((h.edge.cause, h.edge.effect))
        if lean is not None and lean.answered and _loses(lean):
            dropped.append((_voted(h, lean), "the model rather sees the effect as the cause, or neither"))
        else:
            passed.append(h if lean is None else _voted(h, lean))
    known = [edge for edge in data.config.graph.edges if edge.modifier is None]
    left, cycles = break_cycles(passed, known)
    kept = set(map(id, left))
    dropped += [(h, "it closes a circle of claims") for h in passed if id(h) not in kept]
    return Criticism(tuple(left), tuple(dropped), usage, tuple(cycles), chosen)


def choose_strategy(
    client: Client,
    strategy: CriticStrategy = "auto",
    *,
    language: Language = "en",
    samples: int = 1,
    progress: Progress | None = None,
) -> tuple[DirectionStrategy, Usage]:
    """Return how a model is best asked for directions, and what finding out cost.

    "auto" asks about eight pairs that everybody knows, each also changed round. A model that gets three quarters of
    them right both ways is asked for votes; another, small one for likelihoods, if its server tells them.

    Raises
    ------
    InputError
        If likelihoods are asked for and the server gives none.
    ServerError
        If the server is gone.
    """
    votes: DirectionStrategy = "votes" if samples > 1 else "both orders"
    told = _tells(client)
    if strategy == "likelihood" and not told:
        raise InputError(f"the critic is to use likelihoods, and the server of {client.backend.model!r} gives none")
    if strategy == "votes" or not told:
        return votes, Usage.of([])
    if strategy == "likelihood":
        return "normalised likelihood", Usage.of([])
    said, usage = ask_directions_of(
        client, EVIDENT[language], strategy="both orders", language=language, progress=progress
    )
    right = sum(one.forward == 1.0 for one in said) / len(said)
    return (votes if right >= TRUSTED else "normalised likelihood"), usage


def phrase(name: str, data: StudyData) -> str:
    """Return how a sentence names an attribute or an outcome: its description, else its column in plain words."""
    known = data.attributes.get(name) or data.outcomes.get(name)
    described = " ".join(known.description.split()) if known is not None else ""
    if described and len(described) <= _LONGEST_PHRASE:
        return described.rstrip(".。")
    return name.split(".", 1)[1].replace("_", " ")


def _tells(client: Client) -> bool:
    """Whether the backend tells likelihoods, found out by asking for one."""
    backend = client.backend
    if not isinstance(backend, ScoringBackend):
        return False
    try:
        found, _ = plausibility(client, [EVIDENT["en"][0]])
    except ServerError:  # no such path there; a server that is gone will be missed at the next question
        return False
    return found[0].answered


def _with_likelihoods(
    claims: list[Hypothesis], data: StudyData, client: Client, language: Language, progress: Progress | None
) -> tuple[list[Hypothesis], Usage]:
    """Give every claim the likelihood of its effect after its cause, less that of the effect alone, in nats."""
    pairs = list(dict.fromkeys((h.edge.cause, h.edge.effect) for h in claims))
    phrases = [(phrase(cause, data), phrase(effect, data)) for cause, effect in pairs]
    said, usage = plausibility(client, phrases, language=language, progress=progress)
    told = dict(zip(pairs, said, strict=True))
    out = []
    for h in claims:
        one = told[h.edge.cause, h.edge.effect]
        if one.answered:
            h = replace(h, likelihood=one.lean, call_keys=tuple(dict.fromkeys((*h.call_keys, *one.keys))))
        out.append(h)
    return out, usage


def _either_way(pair: tuple[str, str], data: StudyData) -> bool:
    """Whether the study would allow the edge the other way round too: else tiers say which comes first."""
    cause, effect = pair
    return effect in data.attributes and not allowed(Edge(effect, cause), data)


def _loses(said: Direction) -> bool:
    return said.forward <= max(said.backward, 1.0 - said.forward - said.backward)


def _voted(h: Hypothesis, said: Direction) -> Hypothesis:
    """The claim with the calls that it went through; votes for its direction count as its confidence if fewer."""
    keys = tuple(dict.fromkeys((*h.call_keys, *said.keys)))
    if not said.answered:
        return replace(h, call_keys=keys)
    share = said.forward if h.confidence is None else min(h.confidence, said.forward)
    return replace(h, confidence=share, call_keys=keys)
