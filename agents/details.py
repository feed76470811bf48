"""How would a cause work, what could drive both, what moves it alone, and for whom does its effect differ?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel

from whyrank.agents.asking import Asker
from whyrank.agents.causes import Pair
from whyrank.agents.client import Answered, Question
from whyrank.agents.letters import NONE, Letters, short_sentence
from whyrank.agents.schemas import answered
from whyrank.datasets.tiers import allowed, possible_modifiers
from whyrank.edge import Edge, Hypothesis

__all__ = ["Details", "ask_details"]

_PEOPLE_SHOWN = 6
_SHOWN = 16
_LONGEST_HIDDEN = 60


@dataclass(frozen=True)
class Details:
    """What a model adds to a claim; empty where it said none, or nothing usable."""

    confounder: str = ""
    modifier: str = ""
    instrument: str = ""
    unmeasured: str = ""
    mechanism: str = ""
    keys: tuple[str, ...] = ()

    def added_to(self, claim: Hypothesis) -> list[Hypothesis]:
        """Return the claim with these details, and the one with the modifier if one is named."""
        whole = replace(
            claim,
            mechanism=self.mechanism,
            confounders=(self.confounder,) if self.confounder else (),
            modifiers=(self.modifier,) if self.modifier else (),
            instruments=(self.instrument,) if self.instrument else (),
            unmeasured=(self.unmeasured,) if self.unmeasured else (),
            call_keys=tuple(dict.fromkeys((*claim.call_keys, *self.keys))),
        )
        if not self.modifier:
            return [whole]
        edge = Edge(claim.edge.cause, claim.edge.effect, self.modifier)
        return [whole, replace(whole, edge=edge, claimed_sign="", modifiers=(), instruments=(), confidence=None)]


def ask_details(asker: Asker, letters: Letters, pairs: Sequence[Pair]) -> list[Details]:
    """Ask for the details of each pair, in the order of the pairs.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    replies = asker.ask_all([_question(letters, pair) for pair in pairs], what="mechanisms")
    return [_read(reply) for reply in replies]


def _question(letters: Letters, pair: Pair) -> Question[BaseModel]:
    """All questions about one outcome begin alike, with the same attributes, which servers cache."""
    cause, effect = pair
    data = letters.data
    usable = [a for a in data.attributes.values() if a.role != "ignore"]
    people = letters.some([a for a in usable if a.table == "users"], _PEOPLE_SHOWN, "details", effect, "people")
    others = [a for a in usable if a.table != "users"]
    shown = [*people, *letters.some(others, _SHOWN - len(people), "details", effect)]
    possible = {a.name for a in possible_modifiers(cause, effect, data)}
    own = cause.split(".", 1)[0]
    modifiers = [a for a in shown if a.name in possible and a.table != own]
    causes = [a for a in shown if a.name != cause and not allowed(Edge(a.name, cause), data)]
    fields: dict[str, Sequence[str] | None] = {"confounder": [*(a.name for a in shown if a.name != cause), NONE]}
    if modifiers:
        fields["modifier"] = [*(a.name for a in modifiers), NONE]
    if causes:
        fields["instrument"] = [*(a.name for a in causes), NONE]
    fields |= {"unmeasured": None, "mechanism": None}
    return letters.question(
        "details",
        fields,
        max_tokens=112 + 3 * (8 + letters.longest_name // 2),
        outcome=data.outcomes[effect],
        attributes=shown,
        cause=data.attributes[cause],
        modifiers=modifiers,
        instruments=causes,
    )


def _read(reply: Answered[BaseModel]) -> Details:
    if reply.answer is None:
        return Details(keys=reply.keys)
    said = answered(reply.answer)
    named = {part: "" if (word := said.get(part, NONE)) == NONE else word for part in _ENUMS}
    hidden = " ".join(said.get("unmeasured", "").split()).strip(" .\"'。")
    known = {word for word in named.values() if word}
    suspected = hidden if _names_something(hidden) and hidden not in known else ""
    return Details(
        **named, unmeasured=suspected[:_LONGEST_HIDDEN], mechanism=short_sentence(said.get("mechanism")),
        keys=reply.keys,
    )  # fmt: skip


_ENUMS = ("confounder", "modifier", "instrument")


def _names_something(text: str) -> bool:
    """Whether a free answer names something of its own: not none, not a mark, not a column's name."""
    dotted = text.startswith(("users.", "items.", "events."))
    return any(c.isalpha() for c in text) and text.lower() not in (NONE, "无", "没有") and not dotted
