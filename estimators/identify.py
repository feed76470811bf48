"""Identification: which columns must be adjusted for so that an association is an effect, or what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.estimators.graph import descendants, graph_for

__all__ = ["Identification", "identify"]


@dataclass(frozen=True)
class Identification:
    """The answer for one edge.

    Attributes
    ----------
    adjust : names to adjust for, in the study's order.
    excluded : names left out because they descend from the cause or the effect (mediators, colliders).
    open_path : empty, or the back-door path that no measured column closes, drawn with arrows.
    rescuable : whether rows whose item was drawn at random close that path.
    """

    adjust: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    open_path: str = ""
    rescuable: bool = False


def identify(data: StudyData, edge: Edge, candidates: tuple[str, ...]) -> Identification:
    """Find a back-door adjustment set for `edge` among `candidates` (Pearl 1993).

    All pre-treatment columns are taken when they satisfy the criterion, since they also take noise out of the
    outcome; else a minimal separator. DoWhy's own check of the back-door criterion has the last word.

    Parameters
    ----------
    data : the study.
    edge : the edge; its modifier plays no part here.
    candidates : attributes of the panel that may be adjusted for, the cause itself left out.
    """
    from dowhy.graph import check_valid_backdoor_set  # DoWhy takes seconds to import: only when something is judged

    after = descendants(data, edge)
    excluded = tuple(name for name in candidates if name in after)
    before = tuple(name for name in candidates if name not in after)
    graph = graph_for(data, edge, candidates)

    def closes(names: tuple[str, ...]) -> bool:
        inside = [name for name in names if name in graph]
        return bool(check_valid_backdoor_set(graph, [edge.cause], [edge.effect], inside)["is_dseparated"])

    if closes(before):
        return Identification(before, excluded)
    surgery = graph.copy()
    surgery.remove_edges_from(list(graph.out_edges(edge.cause)))
    allowed = {name for name in before if name in surgery}
    separator = nx.find_minimal_d_separator(surgery, edge.cause, edge.effect, restricted=allowed)
    if separator is not None and closes(tuple(sorted(separator))):
        return Identification(tuple(name for name in before if name in separator), excluded)
    return Identification(before, excluded, *_open_path(surgery, edge, allowed))


def _open_path(surgery: nx.DiGraph, edge: Edge, allowed: set[str]) -> tuple[str, bool]:
    """Name a back-door path through what isn't measured, and say whether a random item would close it."""
    hidden = surgery.subgraph(set(surgery) - allowed).to_undirected()
    try:
        path = nx.shortest_path(hidden, edge.cause, edge.effect)
    except nx.NetworkXNoPath:
        path = nx.shortest_path(surgery.to_undirected(), edge.cause, edge.effect)
    drawn = [path[0]]
    for here, there in pairwise(path):
        drawn.append(f"{'->' if surgery.has_edge(here, there) else '<-'} {there}")
    return " ".join(drawn), edge.cause.startswith("items.")
