"""The hypothesis loop: propose, criticise, validate, reflect, until the budget or the ideas run out.

A LangGraph graph of four nodes. A `Memory` (the pipeline's is the ledger) keeps what a finished round came to, so that
a run that was stopped goes on with the round it was in, and a finished one asks nothing. Who validates is passed in:
nothing here knows how an effect is estimated, and all that comes back are words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from whyrank.agents.asking import Asker
from whyrank.agents.calibration import Calibration, Signals
from whyrank.agents.client import Client, Progress, Usage
from whyrank.agents.followups import next_round
from whyrank.agents.lessons import Agenda, Lesson, agenda
from whyrank.agents.letters import Letters
from whyrank.agents.merge import merge_hypotheses
from whyrank.agents.propose import first_round
from whyrank.agents.rounds import LoopOptions, LoopResult, Memory, Round
from whyrank.agents.twins import Twins, find_twins
from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge, Hypothesis

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

__all__ = ["Criticised", "Loop", "run_loop"]

_NODES = 4


@dataclass(frozen=True)
class Criticised:
    """What a critic lets through, what that cost, and what is to be told."""

    hypotheses: Sequence[Hypothesis]
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()


Validate = Callable[[int], Sequence[Lesson]]
"""Tests everything known up to a round that isn't tested yet, and tells what the verdicts over all of it come to."""

Critic = Callable[[Sequence[Hypothesis], Client], Criticised]
"""Judges claims before they are tested; drops some, and adds votes and likelihoods to others."""

Look = Callable[[Sequence[Edge]], Mapping[Edge, Signals]]
"""Tells what is known of edges beside their proposers' word."""


def run_loop(
    data: StudyData,
    connect: Callable[[], Client],
    *,
    validate: Validate,
    memory: Memory,
    options: LoopOptions,
    seed: int,
    critic: Critic | None = None,
    signals: Look | None = None,
    progress: Progress | None = None,
) -> LoopResult:
    """Run the rounds that aren't finished yet.

    Parameters
    ----------
    data : the study.
    connect : returns the client; called only if anything is to be asked.
    validate : called between rounds, and not after the last one: those verdicts are the caller's.
    memory : what is finished, and where it is kept.
    options : how far to go.
    seed : of the shuffles and of the catalogue texts shown.
    critic : None lets everything through.
    signals : used, with the verdicts so far, to choose what a budget of tested edges is spent on.
    progress : called with what is being asked and how much of it is done.

    Raises
    ------
    ServerError
        If the model server is gone.
    """
    return Loop(data, connect, validate, memory, options, seed, critic, signals, progress).run()


class _State(TypedDict):
    """What goes from node to node: rounds so far, the one under way, its hypotheses, the lessons, calls made now."""

    rounds: tuple[Round, ...]
    fresh: tuple[Hypothesis, ...]
    asker: Asker | None
    lessons: tuple[Lesson, ...]
    agenda: Agenda
    calls: int
    cached: int


@dataclass(frozen=True)
class Loop:
    """The graph's nodes; see `run_loop` for the fields."""

    data: StudyData
    connect: Callable[[], Client]
    validator: Validate
    memory: Memory
    options: LoopOptions
    seed: int
    critic: Critic | None = None
    signals: Look | None = None
    progress: Progress | None = None

    def run(self) -> LoopResult:
        """Go through the graph until its end."""
        from langchain_core.runnables import RunnableConfig
        from langsmith import tracing_context

        start = _State(rounds=(), fresh=(), asker=None, lessons=(), agenda=Agenda(), calls=0, cached=0)
        limit = RunnableConfig(recursion_limit=_NODES * (self.options.rounds + 1) + 1)
        with tracing_context(enabled=False):  # nobody else hears of a run, whatever the environment says
            end = self.graph().invoke(start, limit)
        return LoopResult(end["rounds"], end["calls"], end["cached"])

    def graph(self) -> CompiledStateGraph[_State, None, _State, _State]:
        """Return the graph of propose, criticise, validate and reflect."""
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(_State)
        graph.add_node("propose", self.propose)
        graph.add_node("criticise", self.criticise)
        graph.add_node("validate", self.validate)
        graph.add_node("reflect", self.reflect)
        graph.add_edge(START, "propose")
        graph.add_edge("propose", "criticise")
        graph.add_edge("criticise", "validate")
        graph.add_edge("validate", "reflect")
        graph.add_conditional_edges("reflect", self.onward, {"propose": "propose", "end": END})
        return graph.compile()

    def propose(self, state: _State) -> dict[str, Any]:
        """Ask for hypotheses: about everything in the first round, about what the verdicts raise in the others."""
        number = len(state["rounds"]) + 1
        finished = self.memory.finished(number)
        if finished is not None:
            return {"rounds": (*state["rounds"], finished), "fresh": (), "asker": None}
        asker = Asker(self.connect(), calls=self._calls_left(state["rounds"]), progress=self._named(number))
        known = {h.edge for h in self.memory.known(number - 1)}
        if number == 1:
            found = list(first_round(asker, self._letters, samples=self.options.samples).hypotheses)
        else:
            found = next_round(
                asker, self._letters, state["agenda"], tested=known, samples=self.options.samples, round=number
            )
        merged = merge_hypotheses(found, self._twins)
        fresh = tuple(h for h in merged.hypotheses if number == 1 or h.edge not in known or h.instruments)
        notes = tuple(twins.sentence(self.data.config.study.language) for twins in merged.twins)
        under_way = Round(number, proposed=len(found), merged=len(found) - len(fresh), notes=notes)
        return {"rounds": (*state["rounds"], under_way), "fresh": fresh, "asker": asker}

    def criticise(self, state: _State) -> dict[str, Any]:
        """Let the critic look at the claims, keep what the budget has room for, and close the round."""
        asker, fresh = state["asker"], state["fresh"]
        if asker is None:
            return {}
        under_way = state["rounds"][-1]
        criticised = Criticised(fresh)
        if self.critic is not None and fresh and asker.left != 0:
            criticised = self.critic(fresh, asker.client)
            asker.charge(criticised.usage)
        kept = self._within_budget(criticised.hypotheses, state)
        done = replace(
            under_way,
            dropped=max(0, len(fresh) - len(criticised.hypotheses)),
            left_out=len(criticised.hypotheses) - len(kept),
            kept=len(kept),
            questions=asker.usage.questions,
            unanswered=asker.usage.unanswered,
            calls=asker.usage.calls + asker.usage.cached,
            failures=dict(asker.usage.failures or {}),
            notes=(*under_way.notes, *criticised.notes),
            passed_over=tuple(sorted({str(h.edge) for h in criticised.hypotheses} - {str(h.edge) for h in kept})),
        )
        self.memory.keep(done, kept)
        return {
            "rounds": (*state["rounds"][:-1], done),
            "fresh": (),
            "asker": None,
            "calls": state["calls"] + asker.usage.calls,
            "cached": state["cached"] + asker.usage.cached,
        }

    def validate(self, state: _State) -> dict[str, Any]:
        """Have everything tested that is known so far, if another round is to read the verdicts."""
        number = len(state["rounds"])
        if self._over(state) or self.memory.finished(number + 1) is not None:
            return {}
        return {"lessons": tuple(self.validator(number))}

    def reflect(self, state: _State) -> dict[str, Any]:
        """Read the verdicts: what do they raise that is worth asking?"""
        return {"agenda": agenda(state["lessons"], self.data.outcomes)}

    def onward(self, state: _State) -> str:
        """Tell whether there is another round."""
        return "end" if self._over(state) else "propose"

    def _over(self, state: _State) -> bool:
        """Whether the budget or the ideas have run out."""
        rounds = state["rounds"]
        if len(rounds) >= self.options.rounds or self._calls_left(rounds) == 0 or self._edges_left(rounds) == 0:
            return True
        return rounds[-1].kept == 0 and (len(rounds) > 1 or not self.memory.known(1))

    def _calls_left(self, rounds: Sequence[Round]) -> int | None:
        most = self.options.max_calls
        return None if most is None else max(0, most - sum(r.calls for r in rounds))

    def _edges_left(self, rounds: Sequence[Round]) -> int | None:
        most = self.options.max_edges
        return None if most is None else max(0, most - sum(r.kept for r in rounds))

    def _within_budget(self, claims: Sequence[Hypothesis], state: _State) -> list[Hypothesis]:
        """The claims whose edges may still be tested: the most promising ones, as the verdicts so far say."""
        left = self._edges_left(state["rounds"])
        if left is None or len(claims) <= left:
            return list(claims)
        known = self.memory.known(len(state["rounds"]) - 1)
        verdicts = {x.edge: x.verdict == "validated" for x in state["lessons"] if x.verdict != "unidentifiable"}
        look = self.signals or _look_nowhere
        beside = look(sorted({h.edge for h in (*known, *claims)}, key=str))
        calibration = Calibration.fit(known, [verdicts.get(h.edge) for h in known], beside)
        return calibration.rank(claims, beside)[:left]

    def _named(self, number: int) -> Progress | None:
        """Show the round beside what is asked, where there is more than one."""
        show = self.progress
        if show is None or self.options.rounds == 1:
            return show
        return lambda what, done, total: show(f"{what}, round {number}", done, total)

    @cached_property
    def _letters(self) -> Letters:
        return Letters(self.data, self.seed)

    @cached_property
    def _twins(self) -> tuple[Twins, ...]:
        return find_twins(self.data)


def _look_nowhere(_: Sequence[Edge]) -> Mapping[Edge, Signals]:
    return {}
