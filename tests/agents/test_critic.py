"""The critic: directions by votes and by likelihoods, the choice between them, circles, and what is dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from whyrank.agents.backend import CallFailed
from whyrank.agents.client import Client
from whyrank.agents.critic import EVIDENT, choose_strategy, criticise, phrase
from whyrank.agents.cycles import break_cycles
from whyrank.agents.directions import ask_directions_of
from whyrank.agents.scripted import ScriptedModel, Sent
from whyrank.agents.sequence_scores import SequenceScore
from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError
from whyrank.prompts import load_prompt

Shop = Callable[..., StudyData]

RAIN, WET = "the rain", "how wet the streets are"


def by_place(_: Sent) -> Mapping[str, Any]:
    """A model that always takes the first option."""
    return {"answer": "A"}


def knowing(cause: str) -> Callable[[Sent], Mapping[str, Any]]:
    """A model that knows that `cause` drives the other thing, whichever option says so."""

    def answer(sent: Sent) -> Mapping[str, Any]:
        lines = sent.text.split("\n")
        first = next(line for line in lines if line.startswith("The first"))
        says = "changing the first" if cause in first else "changing the second"
        return {"answer": next(line[2] for line in lines if line.startswith("- ") and says in line)}

    return answer


@dataclass
class Scoring(ScriptedModel):
    """A scripted model that tells likelihoods too: by how much each text is liked."""

    likes: Callable[[str], float] = lambda text: 0.0

    def score(self, prefix: str, continuation: str) -> SequenceScore:
        return SequenceScore((self.likes(prefix + continuation),), "echo")


def test_a_model_that_answers_by_place_leans_nowhere_when_the_options_are_turned_round() -> None:
    client = Client(ScriptedModel(by_place))
    one, _ = ask_directions_of(client, [(RAIN, WET)], strategy="single")
    both, usage = ask_directions_of(client, [(RAIN, WET)], strategy="both orders")
    assert one[0].lean == 1.0
    assert both[0].lean == 0.0
    assert usage.cached == 1  # the first order was asked before


def test_neither_a_letter_nor_what_is_named_first_wins_by_itself() -> None:
    def by_mention(sent: Sent) -> Mapping[str, Any]:
        options = [line for line in sent.text.split("\n") if line.startswith("- ")]
        return {"answer": next(line[2] for line in options if "changing the first" in line)}

    for model in (by_place, by_mention):
        said, _ = ask_directions_of(Client(ScriptedModel(model)), [(RAIN, WET)], strategy="votes", samples=2)
        assert said[0].lean == 0.0
        assert choose_strategy(Client(Scoring(model)))[0] == "normalised likelihood"


def test_a_model_that_knows_leans_the_same_way_in_either_order() -> None:
    client = Client(ScriptedModel(knowing(RAIN)))
    forward, _ = ask_directions_of(client, [(RAIN, WET), (WET, RAIN)], strategy="votes", samples=2)
    assert [one.lean for one in forward] == [1.0, -1.0]
    assert len(forward[0].keys) == 4


def test_a_frequent_phrase_does_not_win_once_its_frequency_is_taken_off() -> None:
    def likes(text: str) -> float:
        frequent = 5.0 if text.endswith(f"a change in {RAIN}.") else 0.0
        return frequent + (1.0 if text == f"Changing {RAIN} causes a change in {WET}." else 0.0) - 20.0

    client = Client(Scoring(by_place, likes=likes))
    plain, _ = ask_directions_of(client, [(RAIN, WET)], strategy="likelihood")
    normalised, usage = ask_directions_of(client, [(RAIN, WET)], strategy="normalised likelihood")
    assert plain[0].lean == pytest.approx(-4.0)
    assert normalised[0].lean == pytest.approx(1.0)
    assert (usage.calls, usage.cached) == (2, 2)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_votes_are_preferred_where_the_model_knows_the_evident(language: Any) -> None:
    def knows(sent: Sent) -> Mapping[str, Any]:
        first = sent.text.split("\n")[4]
        forward = any(cause in first for cause, _ in EVIDENT[language])
        options = [line for line in sent.text.split("\n") if line.startswith("- ")]
        wanted = ("changing the first", "改变第一件") if forward else ("changing the second", "改变第二件")
        return {"answer": next(line[2] for line in options if line[3:].lstrip(":： ").startswith(wanted))}

    chosen, _ = choose_strategy(Client(Scoring(knows)), language=language)
    assert chosen == "both orders"
    chosen, usage = choose_strategy(Client(Scoring(by_place)), language=language)
    assert chosen == "normalised likelihood"
    assert usage.questions == 2 * len(EVIDENT[language])


def test_without_likelihoods_there_are_only_votes() -> None:
    client = Client(ScriptedModel(by_place))
    assert choose_strategy(client)[0] == "both orders"
    assert choose_strategy(client, samples=3)[0] == "votes"
    with pytest.raises(InputError, match="'scripted' gives none"):
        choose_strategy(client, "likelihood")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_whole_sentence_is_scored_and_nothing_twice(language: Any) -> None:
    seen: list[str] = []

    def likes(text: str) -> float:
        seen.append(text)
        return -1.0

    model = Scoring(by_place, likes=likes)
    ask_directions_of(Client(model), [("u", "v")], strategy="normalised likelihood", language=language)
    sentences = [load_prompt("sentence", language).render(cause=c, effect=e).text for c, e in ("uv", "vu")]
    alone = [load_prompt("sentence_alone", language).render(effect=e).text for e in "vu"]
    assert seen == [*sentences, *alone]


def claims(*edges: str, confidence: float = 0.8) -> list[Hypothesis]:
    return [Hypothesis(Edge.parse(edge), source="llm", confidence=confidence) for edge in edges]


def test_only_what_could_go_either_way_is_asked_and_losers_are_dropped(shop: Shop) -> None:
    attributes = (
        Attribute("items.brand_tier", "numeric", description="the brand"),
        Attribute("items.price", "numeric", description="the price"),
    )
    data = shop(attributes=attributes)
    asked = claims("items.price -> events.click", "items.brand_tier -> items.price", "items.price -> items.brand_tier")
    model = ScriptedModel(knowing("the brand"))
    found = criticise(asked, data, Client(model))
    assert [str(h.edge) for h in found.hypotheses] == ["items.price -> events.click", "items.brand_tier -> items.price"]
    assert [str(h.edge) for h, _ in found.dropped] == ["items.price -> items.brand_tier"]
    assert len(model.sent) == 2  # one pair both ways round; the click can't cause a price
    assert found.hypotheses[1].call_keys
    assert found.hypotheses[0] == asked[0]


def test_likelihoods_are_added_to_every_claim(shop: Shop) -> None:
    data = shop(attributes=(Attribute("items.price", "numeric", description="the price"),))
    client = Client(Scoring(by_place, likes=lambda text: -3.0 if text.startswith("Changing") else -5.0))
    found = criticise(claims("items.price -> events.click"), data, client, strategy="likelihood")
    assert found.hypotheses[0].likelihood == pytest.approx(2.0)
    assert found.strategy == "normalised likelihood"
    again = criticise(claims("items.price -> events.click"), data, client, strategy="likelihood")
    assert again.usage.calls == 0
    assert again.hypotheses == found.hypotheses


def test_likelihoods_drop_nothing_but_decide_between_opposites(shop: Shop) -> None:
    attributes = (
        Attribute("items.tier", "numeric", description="the brand"),
        Attribute("items.price", "numeric", description="the price"),
    )

    def likes(text: str) -> float:
        return -1.0 if text == "Changing the brand causes a change in the price." else -4.0

    client = Client(Scoring(by_place, likes=likes))
    one = criticise(claims("items.price -> items.tier"), shop(attributes=attributes), client, strategy="likelihood")
    assert [str(h.edge) for h in one.hypotheses] == ["items.price -> items.tier"]
    both = claims("items.price -> items.tier", "items.tier -> items.price")
    found = criticise(both, shop(attributes=attributes), client, strategy="likelihood")
    assert [str(h.edge) for h in found.hypotheses] == ["items.tier -> items.price"]
    assert len(found.cycles) == 1


def test_a_score_that_fails_leaves_the_claim_as_it_was(shop: Shop) -> None:
    class Broken(Scoring):
        def score(self, prefix: str, continuation: str) -> SequenceScore:
            raise CallFailed("rejected", "no such thing")

    data = shop(attributes=(Attribute("items.price", "numeric"),))
    asked = claims("items.price -> events.click")
    found = criticise(asked, data, Client(Broken(by_place)), strategy="auto")
    assert list(found.hypotheses) == asked


def test_circles_are_broken_at_the_weakest_claim_and_told() -> None:
    circle = [
        Hypothesis(Edge.parse("items.a -> items.b"), confidence=0.9),
        Hypothesis(Edge.parse("items.b -> items.c"), confidence=0.5),
        Hypothesis(Edge.parse("items.c -> items.a"), confidence=0.7),
        Hypothesis(Edge.parse("items.b -> items.c | users.x"), confidence=0.4),
        Hypothesis(Edge.parse("items.c -> events.y"), confidence=0.1),
    ]
    left, broken = break_cycles(circle)
    assert [str(h.edge) for h in left] == ["items.a -> items.b", "items.c -> items.a", "items.c -> events.y"]
    assert "items.b -> items.c (50%), is given up" in broken[0].sentence()
    assert "循环" in broken[0].sentence("zh")


def test_what_the_user_declares_is_never_given_up() -> None:
    claim = Hypothesis(Edge.parse("items.b -> items.a"), confidence=1.0)
    left, broken = break_cycles([claim], [Edge.parse("items.a -> items.b")])
    assert left == []
    assert len(broken) == 1
    own = [Edge.parse("items.a -> items.b"), Edge.parse("items.b -> items.a")]
    assert break_cycles([], own) == ([], [])


def test_a_phrase_is_the_description_or_the_column(shop: Shop) -> None:
    long = Attribute("items.x_y", "numeric", description="word " * 40)
    data = shop(attributes=(Attribute("items.price", "numeric", description="shelf price in EUR."), long))
    assert phrase("items.price", data) == "shelf price in EUR"
    assert phrase("items.x_y", data) == "x y"
