"""Attributes that cause attributes: what the accepted causes themselves come from."""

from __future__ import annotations

from collections.abc import Sequence

from whyrank.agents.asking import Asker
from whyrank.agents.letters import Letters
from whyrank.agents.picks import Choice, pick_all
from whyrank.datasets.tiers import allowed, possible_causes
from whyrank.edge import Edge, Hypothesis

__all__ = ["ask_structure"]


def ask_structure(
    asker: Asker, letters: Letters, effects: Sequence[str], *, samples: int, round: int
) -> list[Hypothesis]:
    """Ask what causes each attribute; an edge is proposed if more than half of the votes name its cause.

    A model that chooses by place names another attribute in the other order, and proposes nothing.

    Parameters
    ----------
    asker, letters : whom to ask, and who writes.
    effects : attributes; those that can't be an effect are passed over.
    samples : votes for each order of the attributes.
    round : written into the hypotheses.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    data = letters.data
    causes = possible_causes(data)
    choices = []
    for effect in effects:
        candidates = tuple(a for a in causes if a.name != effect and not allowed(Edge(a.name, effect), data))
        if candidates:
            variables = {"effect": data.attributes[effect]}
            choices.append(Choice("structure", (effect,), candidates, ("strongest", "second"), variables=variables))
    picked = pick_all(asker, letters, choices, samples=samples, what="what causes attributes")
    return [
        Hypothesis(
            Edge(pick.name, choice.about[0]),
            mechanism=pick.mechanism,
            source="llm",
            round=round,
            confidence=pick.share,
            call_keys=pick.keys,
        )
        for choice, picks in zip(choices, picked, strict=True)
        for pick in picks
        if pick.share > 0.5
    ]
