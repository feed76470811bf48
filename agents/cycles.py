"""Claims that go round in a circle: one of them is wrong, and the weakest is given up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import networkx as nx

from whyrank.edge import Edge, Hypothesis
from whyrank.prompts import Language

__all__ = ["BrokenCycle", "break_cycles"]


@dataclass(frozen=True)
class BrokenCycle:
    """A circle of claims, and the one that was given up."""

    path: tuple[str, ...]
    given_up: Hypothesis

    def sentence(self, language: Language = "en") -> str:
        """Return it as a sentence for the user."""
        way = " -> ".join((*self.path, self.path[0]))
        share = "" if self.given_up.confidence is None else f" ({self.given_up.confidence:.0%})"
        if language == "zh":
            return f"提出的边构成循环 {way}；放弃票数最少的一条 {self.given_up.edge}{share}"
        return f"proposed edges go round in a circle, {way}: the weakest, {self.given_up.edge}{share}, is given up"


def break_cycles(
    hypotheses: Sequence[Hypothesis], known: Iterable[Edge] = ()
) -> tuple[list[Hypothesis], list[BrokenCycle]]:
    """Give up the weakest claim of each circle, until there is none; returns what is left, and the circles.

    Weakest is the smallest vote share, then the smallest likelihood, then the last in alphabetical order. Edges with a
    modifier of a claim that is given up go with it.

    Parameters
    ----------
    hypotheses : claims; those without a vote share count as sure.
    known : edges that the user declares; they are never given up, and a circle of them alone is left.

    Examples
    --------
    >>> a = Hypothesis(Edge("items.x", "items.y"), confidence=0.9)
    >>> b = Hypothesis(Edge("items.y", "items.x"), confidence=0.6)
    >>> left, broken = break_cycles([a, b])
    >>> [str(h.edge) for h in left], str(broken[0].given_up.edge)
    (['items.x -> items.y'], 'items.y -> items.x')
    """
    declared = {(edge.cause, edge.effect) for edge in known}
    strongest: dict[tuple[str, str], Hypothesis] = {}
    for h in hypotheses:
        ends = (h.edge.cause, h.edge.effect)
        if ends not in strongest or _strength(h) > _strength(strongest[ends]):
            strongest[ends] = h
    graph = nx.DiGraph(sorted([*declared, *strongest]))
    broken: list[BrokenCycle] = []
    gone: set[tuple[str, str]] = set()
    for component in [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]:
        part = graph.subgraph(component).copy()
        while True:
            path = _circle(part)
            if path is None:
                break
            steps = list(zip(path, (*path[1:], path[0]), strict=True))
            claims = [step for step in steps if step in strongest and step not in declared]
            if not claims:
                part.remove_edge(*steps[0])  # the user's own circle: nothing of ours to give up
                continue
            weakest = min(claims, key=lambda step: (*_strength(strongest[step]), _reversed(strongest[step])))
            part.remove_edge(*weakest)
            gone.add(weakest)
            broken.append(BrokenCycle(tuple(path), strongest[weakest]))
    left = [h for h in hypotheses if (h.edge.cause, h.edge.effect) not in gone]
    return left, broken


def _circle(graph: nx.DiGraph) -> list[str] | None:
    """Return the nodes of some circle, always the same one of the same graph."""
    try:
        found = nx.find_cycle(graph, source=sorted(graph.nodes))
    except nx.NetworkXNoCycle:
        return None
    path = [step[0] for step in found]
    first = path.index(min(path))
    return path[first:] + path[:first]


def _strength(h: Hypothesis) -> tuple[float, float]:
    votes = 1.0 if h.confidence is None else h.confidence
    return votes, float("-inf") if h.likelihood is None else h.likelihood


def _reversed(h: Hypothesis) -> tuple[int, ...]:
    """A key that puts the last in alphabetical order first."""
    return tuple(-ord(c) for c in str(h.edge))
