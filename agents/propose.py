"""The proposing model's first round: which attributes cause an outcome, how, for whom, and what causes them.

Small questions with small schemas, so that a model of a hundred million parameters can answer them and a large one
isn't hindered. What comes after the verdicts is in `whyrank.agents.followups`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whyrank.agents.asking import Asker
from whyrank.agents.causes import Pair, ask_directions, ask_existence
from whyrank.agents.client import Client, Progress, Usage
from whyrank.agents.details import ask_details
from whyrank.agents.letters import Letters
from whyrank.agents.structure import ask_structure
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.tiers import allowed
from whyrank.edge import Edge, Hypothesis

__all__ = ["Proposal", "claims_about", "first_round", "propose_llm"]


@dataclass(frozen=True)
class Proposal:
    """What a model proposed, and what it cost.

    Attributes
    ----------
    hypotheses : in the study's order of outcomes and causes, an edge with a modifier after the edge without; then the
        edges between attributes.
    usage : calls, cached calls and failures by kind; invented names are the kind "unknown_name".
    considered : pairs of attribute and outcome that the model was asked about.
    unanswered : of those, the pairs on which it gave no usable answer.
    """

    hypotheses: tuple[Hypothesis, ...]
    usage: Usage
    considered: int
    unanswered: int


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
        The study. Attributes with role "any" may be proposed as causes, of outcomes and of each other.
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
    return first_round(Asker(client, progress=progress), Letters(data, seed), round=round, samples=samples)


def first_round(asker: Asker, letters: Letters, *, samples: int, round: int = 1) -> Proposal:
    """Ask for hypotheses as `propose_llm` does, with a budget; `usage` is of everything that `asker` asked."""
    data = letters.data
    pairs = [(c, e) for e in data.outcomes for c in data.attributes if c != e and not allowed(Edge(c, e), data)]
    existence = ask_existence(asker, letters, pairs, samples=samples)
    accepted = [pair for pair in pairs if pair in existence and existence[pair].share >= 0.5]
    claims = [
        Hypothesis(
            Edge(*pair), source="llm", round=round, confidence=existence[pair].share, call_keys=existence[pair].keys
        )
        for pair in accepted
    ]
    hypotheses = claims_about(asker, letters, claims, samples=samples)
    causes = [name for name in data.attributes if any(name == cause for cause, _ in accepted)]
    hypotheses += ask_structure(asker, letters, causes, samples=samples, round=round)
    return Proposal(
        hypotheses=tuple(hypotheses),
        usage=asker.usage,
        considered=len(pairs),
        unanswered=len(pairs) - len(existence),
    )


def claims_about(asker: Asker, letters: Letters, claims: Sequence[Hypothesis], *, samples: int) -> list[Hypothesis]:
    """Return claims about outcomes with direction and details, each followed by the one with its modifier.

    Raises
    ------
    ServerError
        If the model server is gone.
    """
    pairs: list[Pair] = [(claim.edge.cause, claim.edge.effect) for claim in claims]
    directions = ask_directions(asker, letters, pairs, samples=samples)
    details = ask_details(asker, letters, pairs)
    found: list[Hypothesis] = []
    for claim, pair, said in zip(claims, pairs, details, strict=True):
        ballot = directions.get(pair)
        if ballot is not None:
            keys = tuple(dict.fromkeys((*claim.call_keys, *ballot.keys)))
            claim = replace(claim, claimed_sign=ballot.sign, call_keys=keys)
        found += said.added_to(claim)
    return found
