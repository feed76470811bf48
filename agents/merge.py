"""Duplicate and near-duplicate edges: what several sources or rounds proposed becomes one hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    moved : edges that aren't tested under their own name, with the edge that stands for them; None if two of its names
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
    similar : near-duplicate columns, from `find_twins`. Only those that hold the same values are merged: of edges that
        differ in such names alone one is tested, that of the first column if it was proposed, with claimed signs turned
        round where one column falls as the other rises.

    Examples
    --------
    >>> edge = Edge.parse("items.price -> events.click")
    >>> merged = merge_hypotheses([Hypothesis(edge), Hypothesis(edge, "-", "it costs more", source="llm")])
    >>> [(h.source, h.claimed_sign) for h in merged.hypotheses], merged.duplicates
    ([('llm', '-')], 1)
    """
    same = {twins.other: twins for twins in similar or () if twins.same}
    groups: dict[Edge, list[tuple[Hypothesis, bool]]] = {}
    nothing: dict[Edge, None] = {}
    for hypothesis in hypotheses:
        known = _known_as(hypothesis.edge, same)
        if known is None:
            nothing[hypothesis.edge] = None
        else:
            groups.setdefault(known[0], []).append((hypothesis, known[1]))
    merged, moved = [], dict.fromkeys(nothing)
    for canonical, members in groups.items():
        turned = {h.edge: flipped for h, flipped in members}
        tested = canonical if canonical in turned else min(turned, key=str)
        moved |= {edge: tested for edge in turned if edge != tested}
        merged.append(pool([_renamed(h, tested, flipped != turned[tested]) for h, flipped in members]))
    names = {name for edge in moved for name in (edge.cause, edge.effect, edge.modifier)}
    return Merged(
        hypotheses=tuple(merged),
        members=tuple(tuple(h for h, _ in members) for members in groups.values()),
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


def _known_as(edge: Edge, same: Mapping[str, Twins]) -> tuple[Edge, bool] | None:
    """The edge between the columns that stand for its own, and whether its sign turns; None if nothing is left."""
    cause, effect, modifier = (same[n].kept if n in same else n for n in (edge.cause, edge.effect, edge.modifier or ""))
    if cause == effect or modifier in (cause, effect):
        return None
    turns = [same[name].reversed for name in (edge.cause, edge.effect) if name in same]
    return Edge(cause, effect, modifier or None), sum(turns) % 2 == 1


def _renamed(h: Hypothesis, edge: Edge, turned: bool) -> Hypothesis:
    return replace(h, edge=edge, claimed_sign=_FLIPPED[h.claimed_sign] if turned else h.claimed_sign)


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
