"""The rounds of the language model in one study: what the loop needs of ledger, judge and critic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from whyrank.agents.client import Client, Progress
from whyrank.agents.lessons import Lesson, Word
from whyrank.agents.loop import Critic, Criticised, run_loop
from whyrank.agents.rounds import LoopOptions, LoopResult, Round
from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge, Hypothesis
from whyrank.estimators.estimate import Judgement
from whyrank.estimators.verdict import MIN_CARRIERS, association_collapses
from whyrank.ledger import Ledger
from whyrank.screen import screen

__all__ = ["LedgerMemory", "lessons_of", "run_rounds", "told", "validated_by"]


@dataclass(frozen=True)
class LedgerMemory:
    """Keeps finished rounds in the ledger, under a `key` that names what they depend on.

    A round and its hypotheses are written down at once: a kill before that has it asked again, from the calls that are
    kept, and with the verdicts that it was asked with.
    """

    ledger: Ledger
    key: str
    usable: Callable[[], Sequence[Hypothesis]]

    def finished(self, round: int) -> Round | None:
        """Return what a round came to; None if it isn't finished."""
        return next((kept for kept in self.ledger.rounds(self.key) if kept.number == round), None)

    def known(self, round: int) -> list[Hypothesis]:
        """Return every hypothesis of the model's rounds up to this one, and every one of other sources."""
        return [h for h in self.usable() if h.source != "llm" or h.round <= round]

    def keep(self, round: Round, hypotheses: Sequence[Hypothesis]) -> None:
        """Keep a finished round and what came of it."""
        self.ledger.add_round(self.key, round, hypotheses)


def run_rounds(
    data: StudyData,
    memory: LedgerMemory,
    *,
    validate: Callable[[], Sequence[Judgement]] | None,
    rounds: int | None = None,
    client: Client | None = None,
    progress: Progress | None = None,
) -> LoopResult:
    """Have the study's model propose, in as many rounds as the study says; what is finished isn't asked again.

    Parameters
    ----------
    data : the study.
    memory : where rounds are kept.
    validate : tests everything that is proposed by now, and returns the verdicts; None for a single round.
    rounds : instead of the study's own number.
    client : instead of one for the study's server.
    progress : called with what is being asked and how much of it is done.

    Raises
    ------
    ServerError
        If the model server can't be used.
    """
    llm, seed = data.config.llm, data.config.study.seed
    options = LoopOptions(
        rounds=(rounds or llm.rounds) if validate is not None else 1,
        samples=llm.samples,
        max_calls=llm.max_calls,
        max_edges=llm.max_edges,
    )

    def learn(_: int) -> list[Lesson]:
        return lessons_of(validate() if validate is not None else ())

    with ExitStack() as stack:
        opened: list[Client] = [] if client is None else [client]

        def connect() -> Client:
            from whyrank.agents.connect import open_client

            if not opened:
                language = data.config.study.language
                opened.append(stack.enter_context(open_client(llm, store=memory.ledger, seed=seed, language=language)))
            return opened[0]

        return run_loop(
            data,
            connect,
            validate=learn,
            memory=memory,
            options=options,
            seed=seed,
            critic=_critic(data, progress),
            signals=lambda edges: screen(data, edges),
            progress=progress,
        )


def _critic(data: StudyData, progress: Progress | None) -> Critic | None:
    strategy = data.config.llm.critic
    if strategy == "off":
        return None

    def look(claims: Sequence[Hypothesis], client: Client) -> Criticised:
        from whyrank.agents.critic import criticise

        found = criticise(claims, data, client, strategy=strategy, samples=data.config.llm.samples, progress=progress)
        language = data.config.study.language
        return Criticised(found.hypotheses, found.usage, tuple(cycle.sentence(language) for cycle in found.cycles))

    return look


def lessons_of(judgements: Iterable[Judgement]) -> list[Lesson]:
    """Read verdicts as lessons, one an edge, in alphabetical order."""
    by_edge: dict[Edge, list[Judgement]] = {}
    for judgement in judgements:
        by_edge.setdefault(judgement.estimate.contrast.edge, []).append(judgement)
    lessons = [_lesson(edge, found) for edge, found in sorted(by_edge.items(), key=lambda one: str(one[0]))]
    vary = {Edge(x.edge.cause, x.edge.effect) for x in lessons if x.edge.modifier and x.verdict == "validated"}
    return [replace(lesson, varies=lesson.edge in vary) for lesson in lessons]


def _lesson(edge: Edge, judgements: Sequence[Judgement]) -> Lesson:
    words = [j.verdict for j in judgements]
    verdict: Word = "unidentifiable"
    if "validated" in words:
        verdict = "validated"
    elif all(word == "refuted" for word in words):
        verdict = "refuted"
    elif "inconclusive" in words or "refuted" in words:
        verdict = "inconclusive"
    seen = [j.estimate for j in judgements if j.estimate.p_value == j.estimate.p_value]
    return Lesson(
        edge,
        verdict,
        reversed=verdict == "refuted" and any(map(_is_reversed, judgements)),
        collapsed=verdict == "refuted" and any(association_collapses(j.estimate) for j in judgements),
        thin=bool(seen) and all(e.smaller_arm < MIN_CARRIERS for e in seen),
        p_value=min((e.p_value for e in seen), default=1.0),
    )


def _is_reversed(j: Judgement) -> bool:
    """Whether the effect, which there is, goes the other way than was claimed."""
    e = j.estimate
    other = bool(j.claimed_sign) and (e.estimate > 0) != (j.claimed_sign == "+")
    return other and e.ci_low * e.ci_high > 0


def validated_by(hypotheses: Iterable[Hypothesis], judgements: Iterable[Judgement]) -> dict[int, int]:
    """Return how many validated contrasts each round of the model was the first to propose."""
    first: dict[Edge, int] = {}
    for h in hypotheses:
        if h.source == "llm":
            first[h.edge] = min(h.round, first.get(h.edge, h.round))
    edges = [j.estimate.contrast.edge for j in judgements if j.verdict == "validated"]
    return dict(sorted(Counter(first[edge] for edge in edges if edge in first).items()))


def told(rounds: Sequence[Round], validated: Mapping[int, int] | None = None) -> list[str]:
    """Return a line for each round: what it proposed, kept and found, what it cost, and what went wrong.

    Parameters
    ----------
    rounds : the rounds.
    validated : by round, what `validated_by` counts; None leaves it out.
    """
    lines = []
    for r in rounds:
        less = [
            f"{count} {word}"
            for word, count in (("merged", r.merged), ("dropped by the critic", r.dropped), ("left out", r.left_out))
            if count
        ]
        wrong = ", ".join(f"{count} {kind}" for kind, count in sorted(r.failures.items()))
        found = "" if validated is None else f", {validated.get(r.number, 0)} contrasts validated"
        lines.append(
            f"round {r.number}: {r.proposed} proposed{''.join(f', {part}' for part in less)}, {r.kept} to test"
            f"{found}; {r.calls} calls{f', unusable: {wrong}' if wrong else ''}"
        )
        lines += [f"  {note}" for note in r.notes]
    return lines
