"""The hypothesis loop, scripted: which question follows from which verdict, and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from langsmith.utils import tracing_is_enabled

from whyrank.agents.client import Client
from whyrank.agents.lessons import Lesson
from whyrank.agents.loop import Criticised, run_loop
from whyrank.agents.rounds import LoopOptions, LoopResult, MemoryOfRounds
from whyrank.agents.scripted import ScriptedModel, Sent
from whyrank.config import GraphConfig, Unmeasured
from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge, Hypothesis

Shop = Callable[..., StudyData]

PRICE = "items.price -> events.click"
SHIPPING = "items.free_shipping -> events.click"


def colleague(**named: str) -> Callable[[Sent], Mapping[str, Any]]:
    """A model that finds price and shipping likely, and names what it is told to in later questions, else "none"."""

    def answer(sent: Sent) -> Mapping[str, Any]:
        said = {}
        for name, asked in sent.params["schema"]["properties"].items():
            words = asked.get("enum") or ([asked["const"]] if "const" in asked else [])
            if "unlikely" in words:
                said[name] = "likely" if name in ("items.price", "items.free_shipping") else "unlikely"
            elif "unclear" in words:
                said[name] = "raises"
            elif words:
                # details, which the first round asks for, name a confounder too
                wanted = "none" if "confounder" in sent.params["schema"]["properties"] else named.get(name, "none")
                said[name] = wanted if wanted in words else "none"
            else:
                said[name] = "It is so."
        return said

    return answer


class Judge:
    """Gives the verdicts that a test wants, and remembers when it was asked."""

    def __init__(self, **changes: Mapping[str, Any]) -> None:
        self.changes = changes
        self.asked: list[int] = []

    def __call__(self, round: int) -> Sequence[Lesson]:
        self.asked.append(round)
        given: dict[str, Mapping[str, Any]] = {PRICE: {"verdict": "inconclusive"}, SHIPPING: {"verdict": "refuted"}}
        for edge, change in ((PRICE, "price"), (SHIPPING, "shipping")):
            given[edge] = {**given[edge], **self.changes.get(change, {})}
        return [Lesson(Edge.parse(edge), **kept) for edge, kept in given.items()]


def filled(data: StudyData) -> StudyData:
    """The shop with values in its columns, all different."""
    rng = np.random.default_rng(1)
    frames = {"users": data.users, "items": data.items, "events": data.events}
    for name, frame in frames.items():
        rows = pd.DataFrame(index=range(60)) if name != "items" else frame.reindex(range(60))
        columns = [a for a in data.attributes.values() if a.table == name]
        new = {
            a.column: rng.choice(a.levels, 60) if a.kind in ("categorical", "ordinal") else rng.normal(size=60)
            for a in columns
        }
        frames[name] = rows.assign(**new)
    return replace(data, users=frames["users"], items=frames["items"], events=frames["events"])


def looped(
    data: StudyData,
    model: ScriptedModel,
    judge: Judge,
    memory: MemoryOfRounds | None = None,
    rounds: int = 2,
    **options: Any,
) -> tuple[LoopResult, dict[str, Hypothesis]]:
    """Run the loop; returns its result and the hypotheses of the rounds after the first."""
    kept = memory or MemoryOfRounds()
    critic = options.pop("critic", None)
    result = run_loop(
        filled(data),
        lambda: Client(model),
        validate=judge,
        memory=kept,
        options=LoopOptions(rounds=rounds, **options),
        seed=1,
        critic=critic,
    )
    return result, {str(h.edge): h for h in kept.known(99) if h.round > 1}


def asked_about(model: ScriptedModel, part: str) -> list[Sent]:
    """The questions whose answer has a part of that name."""
    return [sent for sent in model.sent if part in sent.params["schema"]["properties"]]


def later(model: ScriptedModel, part: str) -> list[Sent]:
    return [sent for sent in asked_about(model, part) if "confounder" not in sent.params["schema"]["properties"]]


def test_an_undecided_effect_is_asked_for_a_modifier(shop: Shop) -> None:
    model, judge = ScriptedModel(colleague(modifier="users.new_user")), Judge()
    result, found = looped(shop(), model, judge)
    assert list(found) == [f"{PRICE} | users.new_user"]
    claim = found[f"{PRICE} | users.new_user"]
    assert (claim.round, claim.source, claim.confidence, claim.mechanism) == (2, "llm", 1.0, "It is so.")
    assert len(claim.call_keys) == 2
    assert judge.asked == [1]
    assert [(r.number, r.proposed, r.kept) for r in result.rounds] == [(1, 4, 4), (2, 1, 1)]
    text = later(model, "modifier")[0].text
    assert "Over everybody, the log can't tell whether items.price acts" in text
    assert f"- {SHIPPING}: refuted, please don't bring it up again" in text
    assert not any(f"{SHIPPING.split(' ')[0]} acts on" in sent.text for sent in later(model, "modifier"))


def test_options_come_in_both_orders_and_what_was_tested_is_not_offered(shop: Shop) -> None:
    model = ScriptedModel(colleague(modifier="users.age"))
    tested = Hypothesis(Edge.parse(f"{PRICE} | users.new_user"), source="file")
    looped(shop(), model, Judge(), MemoryOfRounds([tested]))
    one, two = (sent.params["schema"]["properties"]["modifier"]["enum"] for sent in later(model, "modifier"))
    assert one[:-1] == two[:-1][::-1]
    assert "users.new_user" not in one
    assert one[-1] == two[-1] == "none"


def test_an_effect_that_was_found_or_varies_is_asked_about_in_other_words(shop: Shop) -> None:
    model = ScriptedModel(colleague())
    looped(shop(), model, Judge(price={"verdict": "validated"}, shipping={"verdict": "refuted", "varies": True}))
    first, second = (later(model, "modifier")[i].text for i in (0, 2))
    assert "items.price acts on events.click. For whom" in first
    assert "The effect of items.free_shipping on events.click is not the same everywhere" in second


def test_too_few_carriers_are_not_asked_about(shop: Shop) -> None:
    model = ScriptedModel(colleague())
    looped(shop(), model, Judge(price={"thin": True}))
    assert later(model, "modifier") == []


def test_an_effect_that_collapsed_is_asked_for_what_drives_both(shop: Shop) -> None:
    model = ScriptedModel(colleague(driver="items.brand"))
    _, found = looped(shop(), model, Judge(shipping={"collapsed": True}))
    assert list(found) == ["items.brand -> items.free_shipping", "items.brand -> events.click"]
    assert "next to nothing of it is left" in later(model, "driver")[0].text


def test_instruments_are_asked_for_where_the_study_declares_something_unmeasured(shop: Shop) -> None:
    blocked = Judge(price={"verdict": "unidentifiable"})
    model = ScriptedModel(colleague(instrument="items.brand"))
    _, found = looped(shop(), model, blocked)
    assert (found, later(model, "instrument")) == ({}, [])

    hidden = Unmeasured("items.quality", ("items.price", "events.click"))
    model = ScriptedModel(colleague(instrument="items.brand"))
    _, found = looped(shop(graph=GraphConfig(unmeasured=(hidden,))), model, blocked)
    assert found[PRICE].instruments == ("items.brand",)
    assert found[PRICE].round == 2


def test_what_was_thought_unlikely_may_be_tested_next(shop: Shop) -> None:
    model = ScriptedModel(colleague(cause="users.age"))
    _, found = looped(shop(), model, Judge())
    claim = found["users.age -> events.click"]
    assert (claim.confidence, claim.claimed_sign, claim.mechanism) == (1.0, "+", "It is so.")
    offered = later(model, "cause")[0].params["schema"]["properties"]["cause"]["enum"]
    assert not {"items.price", "items.free_shipping", "items.season", "items.legacy"} & set(offered)


def test_it_ends_when_ideas_run_out(shop: Shop) -> None:
    judge = Judge()
    result, found = looped(shop(), ScriptedModel(colleague()), judge, rounds=9)
    assert found == {}
    assert [r.kept for r in result.rounds] == [4, 0]
    assert judge.asked == [1]


def test_it_ends_when_calls_are_spent_and_says_what_was_not_asked(shop: Shop) -> None:
    model, judge = ScriptedModel(colleague(modifier="users.age")), Judge()
    result, _ = looped(shop(), model, judge, rounds=3, max_calls=5)
    assert len(model.sent) == result.calls == 5
    assert [r.number for r in result.rounds] == [1]
    assert result.rounds[0].failures["over_budget"] > 0
    assert judge.asked == []


def test_a_budget_of_edges_is_spent_on_the_most_promising(shop: Shop) -> None:
    model = ScriptedModel(colleague(modifier="users.age"))
    memory = MemoryOfRounds()
    result, _ = looped(shop(), model, Judge(), memory, rounds=3, max_edges=2)
    assert [(r.kept, r.left_out, len(r.passed_over)) for r in result.rounds] == [(2, 2, 2)]
    assert len(memory.known(1)) == 2


def test_finished_rounds_ask_nothing(shop: Shop) -> None:
    memory = MemoryOfRounds()
    first, _ = looped(shop(), ScriptedModel(colleague(modifier="users.age")), Judge(), memory)
    silent, judge = ScriptedModel([]), Judge()
    second, _ = looped(shop(), silent, judge, memory)
    assert second.rounds == first.rounds
    assert (second.calls, silent.sent, judge.asked) == (0, [], [])


def test_a_critic_drops_and_tells(shop: Shop) -> None:
    def critic(claims: Sequence[Hypothesis], _: Client) -> Criticised:
        return Criticised([h for h in claims if h.edge.effect == "events.click"], notes=("a circle was broken",))

    memory = MemoryOfRounds()
    result, _ = looped(shop(), ScriptedModel(colleague()), Judge(), memory, rounds=1, critic=critic)
    assert (result.rounds[0].dropped, result.rounds[0].notes) == (2, ("a circle was broken",))
    assert {h.edge.effect for h in memory.known(1)} == {"events.click"}


def test_nobody_is_told_of_a_run(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """LangGraph would report each node where the environment says so."""
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    traced: list[bool] = []

    def critic(claims: Sequence[Hypothesis], _: Client) -> Criticised:
        traced.append(bool(tracing_is_enabled()))
        return Criticised(claims)

    looped(shop(), ScriptedModel(colleague()), Judge(), critic=critic)
    assert traced == [False]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_later_questions_are_in_the_study_s_language(shop: Shop, language: str) -> None:
    model = ScriptedModel(colleague(modifier="users.age"))
    looped(shop(language=language), model, Judge(shipping={"collapsed": True}))
    opening = {"en": "Dear colleague", "zh": "同事你好"}[language]
    assert all(sent.text.startswith(opening) for sent in model.sent)
    assert later(model, "modifier")
    assert later(model, "driver")
