"""Duplicate and near-duplicate edges: what several sources or rounds proposed becomes one hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from whyrank.agents.twins import Twins
from whyrank.edge import Edge, Hypothesis, Sign
from whyrank.errors import InputError

__all__ = ["Merged", "merge_hypotheses", "pool"]

_TELLING = ("llm", "file", "discovery", "exhaustive")
"""Of several sources the one that a merged hypothesis names: who chose the edge before who tries every edge."""

_FLIPPED: dict[Sign, Sign] = {"+": "-", "-": "+", "": ""}


@dataclass(frozen=True)
class Merged:
    """What is left to test once every claim stands for itself alone.

    Attributes
    ----------
    hypotheses : one an edge, in the order in which their edges first came.
    members : for each of them the hypotheses that it stands for, as they were proposed.
    moved : edges that aren't tested under their own name, with the edge that stands for them; None if the two ends
        turned out to be the same thing.
    twins : the near-duplicate columns that made them move.
    """

    hypotheses: tuple[Hypothesis, ...]
    members: tuple[tuple[Hypothesis, ...], ...]
    moved: tuple[tuple[Edge, Edge | None], ...] = ()
    twins: tuple[Twins, ...] = ()

    @property
    def duplicates(self) -> int:
        """How many hypotheses said again what another said of the same edge."""
        return sum(len(members) - 1 for members in self.members)


def merge_hypotheses(hypotheses: Iterable[Hypothesis], similar: Sequence[Twins] | None = None) -> Merged:
    """Merge hypotheses about the same edge, and those about two columns that hold the same values.

    Parameters
    ----------
    hypotheses : as proposed, by whomever, in whichever round.
    similar : near-duplicate columns, from `find_twins`. Only those that hold the same values are merged: an edge that
        names the second of them is tested under the first, with the claimed sign turned round where one falls as the
        other rises.

    Examples
    --------
    >>> edge = Edge.parse("items.price -> events.click")
    >>> merged = merge_hypotheses([Hypothesis(edge), Hypothesis(edge, "-", "it costs more", source="llm")])
    >>> [(h.source, h.claimed_sign) for h in merged.hypotheses], merged.duplicates
    ([('llm', '-')], 1)
    """
    same = {twins.other: twins for twins in similar or () if twins.same}
    groups: dict[Edge, list[Hypothesis]] = {}
    renamed: dict[Edge, list[Hypothesis]] = {}
    moved: dict[Edge, Edge | None] = {}
    for hypothesis in hypotheses:
        known = _known_as(hypothesis, same)
        if known is None or known.edge != hypothesis.edge:
            moved[hypothesis.edge] = None if known is None else known.edge
        if known is not None:
            groups.setdefault(known.edge, []).append(hypothesis)
            renamed.setdefault(known.edge, []).append(known)
    names = {name for edge in moved for name in (edge.cause, edge.effect, edge.modifier)}
    return Merged(
        hypotheses=tuple(pool(members) for members in renamed.values()),
        members=tuple(tuple(members) for members in groups.values()),
        moved=tuple(moved.items()),
        twins=tuple(twins for name, twins in same.items() if name in names),
    )


def pool(hypotheses: Sequence[Hypothesis]) -> Hypothesis:
    """Return what several hypotheses about one edge say together; their order doesn't matter.

    Votes are pooled in proportion to the calls behind them, likelihoods averaged; mechanisms, suggested names and the
    keys of calls are kept, all of them; a claimed sign stays where no two contradict each other.

    Raises
    ------
    InputError
        If they aren't about one edge.
    """
    edges = {h.edge for h in hypotheses}
    if len(edges) != 1:
        raise InputError(f"hypotheses about {len(edges)} edges can't be pooled: expected one edge")
    members = sorted(hypotheses, key=_place)
    if len(members) == 1:
        return members[0]
    signs = {h.claimed_sign for h in members if h.claimed_sign}
    return replace(
        members[0],
        claimed_sign=signs.pop() if len(signs) == 1 else "",
        mechanism=" / ".join(dict.fromkeys(h.mechanism for h in members if h.mechanism)),
        confounders=_union(h.confounders for h in members),
        modifiers=_union(h.modifiers for h in members),
        instruments=_union(h.instruments for h in members),
        unmeasured=_union(h.unmeasured for h in members),
        call_keys=_union(h.call_keys for h in members),
        round=min(h.round for h in members),
        confidence=_votes(members),
        likelihood=_mean([(h.likelihood, 1) for h in members]),
    )


def _known_as(hypothesis: Hypothesis, same: dict[str, Twins]) -> Hypothesis | None:
    """The hypothesis about the columns that are tested; None if nothing is left of its edge."""
    edge, sign = hypothesis.edge, hypothesis.claimed_sign
    if not same.keys() & {edge.cause, edge.effect, edge.modifier}:
        return hypothesis
    ends = [same[name].kept if name in same else name for name in (edge.cause, edge.effect)]
    modifier = same[edge.modifier].kept if edge.modifier in same else edge.modifier
    if ends[0] == ends[1] or modifier in ends:
        return None
    for name in (edge.cause, edge.effect):
        if name in same and same[name].reversed:
            sign = _FLIPPED[sign]
    return replace(hypothesis, edge=Edge(ends[0], ends[1], modifier), claimed_sign=sign)


def _place(h: Hypothesis) -> tuple[object, ...]:
    """A place that doesn't depend on who was read first: who chose the edge comes first, then the earlier round."""
    return (
        _TELLING.index(h.source), h.round, h.claimed_sign, h.mechanism, h.call_keys,
        -1.0 if h.confidence is None else h.confidence, h.confounders, h.modifiers, h.instruments, h.unmeasured,
        -1e9 if h.likelihood is None else h.likelihood,
    )  # fmt: skip


def _union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def _votes(members: Sequence[Hypothesis]) -> float | None:
    return _mean([(h.confidence, max(1, len(h.call_keys))) for h in members])


def _mean(values: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in values if value is not None]
    if not known:
        return None
    low, high = min(value for value, _ in known), max(value for value, _ in known)
    mean = sum(value * weight for value, weight in known) / sum(weight for _, weight in known)
    return min(max(mean, low), high)  # rounding may not leave the values' own range
