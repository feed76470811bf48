"""The causal graph of one study: what the user declared, completed by what the tiers imply."""

from __future__ import annotations

import networkx as nx

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.errors import StudyFileError

__all__ = ["descendants", "graph_for"]


def declared_graph(data: StudyData) -> nx.DiGraph:
    """Return the user's own edges as a graph; unmeasured causes are nodes with `observed=False`.

    Raises
    ------
    StudyFileError
        If the declared edges form a cycle; the message names it.
    """
    graph = nx.DiGraph()
    for edge in data.config.graph.edges:
        graph.add_edge(edge.cause, edge.effect)
    for hidden in data.config.graph.unmeasured:
        graph.add_node(hidden.name, observed=False)
        for target in hidden.targets:
            graph.add_edge(hidden.name, target)
    try:
        cycle = [source for source, *_ in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        return graph
    raise StudyFileError(f"[graph] edges form a cycle: {' -> '.join([*cycle, cycle[0]])}")


def descendants(data: StudyData, cause: str) -> set[str]:
    """Return everything that the user declared to descend from `cause`."""
    graph = declared_graph(data)
    return set(nx.descendants(graph, cause)) if cause in graph else set()


def graph_for(data: StudyData, edge: Edge, candidates: tuple[str, ...]) -> nx.DiGraph:
    """Return the graph on which the back-door criterion is checked for one edge.

    Every candidate that the user didn't place is taken as a possible common cause of cause and effect: what nobody
    has ruled out must be adjusted for. A context attribute can't cause a static one (tiers), so for a static cause
    it is a parent of the effect alone. The graph is pruned to the ancestors of cause and effect.
    """
    graph = declared_graph(data)
    graph.add_edge(edge.cause, edge.effect)
    static = not edge.cause.startswith("events.")
    after = set(nx.descendants(graph, edge.cause))
    for name in candidates:
        if name in after:
            continue
        graph.add_edge(name, edge.effect)
        reaches_cause = graph.has_edge(edge.cause, name) or nx.has_path(graph, edge.cause, name)
        if not reaches_cause and not (static and name.startswith("events.")):
            graph.add_edge(name, edge.cause)
    keep = nx.ancestors(graph, edge.cause) | nx.ancestors(graph, edge.effect) | {edge.cause, edge.effect}
    return graph.subgraph(keep).copy()
