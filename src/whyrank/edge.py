"""The words that every room shares: edges such as `items.brand -> events.purchase`, contrasts and hypotheses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from whyrank.errors import InputError

__all__ = ["Contrast", "Edge", "Grain", "Hypothesis", "Sign", "Source"]

Sign = Literal["+", "-", ""]
"""Direction that a proposer claims for an effect; empty when it claims none."""

Source = Literal["llm", "discovery", "exhaustive", "file"]
"""Where a hypothesis came from."""

Grain = Literal["exposure", "user", "item"]
"""The unit whose rows an edge is judged on."""

_NAME = re.compile(r"^(users|items|events)\.(.+)$", re.DOTALL)


def _check_name(name: str, part: str) -> None:
    if not _NAME.match(name):
        raise InputError(f"{part} {name!r} is not a name like 'items.price', 'users.age' or 'events.click'")


@dataclass(frozen=True)
class Edge:
    """A directed causal claim `cause -> effect`, maybe with an effect `modifier`; names carry no level.

    Examples
    --------
    >>> Edge.parse("items.discount -> events.purchase | users.new_user")
    Edge('items.discount -> events.purchase | users.new_user')
    """

    cause: str
    effect: str
    modifier: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.cause, "cause")
        _check_name(self.effect, "effect")
        if self.modifier is not None:
            _check_name(self.modifier, "modifier")
        if self.cause == self.effect:
            raise InputError(f"{self.cause!r} cannot be a cause of itself")
        if self.modifier in (self.cause, self.effect):
            raise InputError(f"{self.modifier!r} cannot modify an edge that it is an end of")

    @classmethod
    def parse(cls, text: str) -> Edge:
        """Read `cause -> effect` or `cause -> effect | modifier`.

        Raises
        ------
        InputError
            If the text is not an edge.
        """
        head, arrow, rest = text.partition("->")
        if not arrow:
            raise InputError(f"{text!r} is not an edge: write 'items.price -> events.purchase'")
        effect, bar, modifier = rest.rpartition(" | ")
        if not bar:
            effect, modifier = rest, ""
        return cls(head.strip(), effect.strip(), modifier.strip() or None)

    def __str__(self) -> str:
        tail = f" | {self.modifier}" if self.modifier else ""
        return f"{self.cause} -> {self.effect}{tail}"

    def __repr__(self) -> str:
        return f"Edge({str(self)!r})"


@dataclass(frozen=True)
class Contrast:
    """One comparison of an edge: a level against its reference (empty strings for a numeric cause: per unit).

    `bracket` and `modifier_bracket` say whether the label shows the level, as it does for categorical attributes.
    """

    edge: Edge
    level: str = ""
    reference: str = ""
    modifier_level: str = ""
    modifier_reference: str = ""
    bracket: bool = False
    modifier_bracket: bool = False

    @property
    def label(self) -> str:
        """The edge as the verdict table writes it, with brackets, e.g. `items.brand[premium] -> events.purchase`."""
        cause = f"{self.edge.cause}[{self.level}]" if self.bracket else self.edge.cause
        text = f"{cause} -> {self.edge.effect}"
        if self.edge.modifier:
            mark = f"[{self.modifier_level}]" if self.modifier_bracket else ""
            text += f" | {self.edge.modifier}{mark}"
        return text


@dataclass(frozen=True)
class Hypothesis:
    """An edge with what its proposer says about it.

    Attributes
    ----------
    edge : the claim itself.
    claimed_sign : "+", "-" or "" (no claim); per unit of a numeric cause, or for a level against its reference.
    mechanism : one sentence, from the proposer.
    confounders, modifiers : names that the proposer suggests; all of them known to the study.
    source : who proposed it.
    round : 1-based round of the hypothesis loop.
    confidence : vote share in 0..1, or None where nobody voted.
    call_keys : ledger keys of the model calls it came from (empty for other sources).
    instruments : names that the proposer takes to act on the effect through the cause alone.
    likelihood : normalised sequence score of the claim, in nats, or None where none was taken.
    unmeasured : common causes of both ends that the proposer suspects and no column holds, in its own words.
    """

    edge: Edge
    claimed_sign: Sign = ""
    mechanism: str = ""
    confounders: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    source: Source = "exhaustive"
    round: int = 1
    confidence: float | None = None
    call_keys: tuple[str, ...] = field(default=())
    instruments: tuple[str, ...] = ()
    likelihood: float | None = None
    unmeasured: tuple[str, ...] = ()
