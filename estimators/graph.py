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


def descendants(data: StudyData, edge: Edge) -> set[str]:
    """Return everything that the user declared to descend from the edge's cause, or from its effect."""
    graph = declared_graph(data)
    graph.add_edge(edge.cause, edge.effect)
    return set(nx.descendants(graph, edge.cause))


def graph_for(data: StudyData, edge: Edge, candidates: tuple[str, ...]) -> nx.DiGraph:
    """Return the graph on which the back-door criterion is checked for one edge.

    Every candidate is taken as a possible common cause of cause and effect: what nobody has ruled out (`[graph]
    forbidden`) must be adjusted for. A context attribute can't cause a static one (tiers), so for a static cause it is
    a parent of the effect alone. The graph is pruned to cause, effect, what may be adjusted for, and their ancestors.
    """
    forbidden = {(arrow.cause, arrow.effect) for arrow in data.config.graph.forbidden}
    graph = declared_graph(data)
    graph.add_edge(edge.cause, edge.effect)
    static = not edge.cause.startswith("events.")
    after = set(nx.descendants(graph, edge.cause))
    for name in candidates:
        if name in after:
            continue
        if (name, edge.effect) not in forbidden:
            graph.add_edge(name, edge.effect)
        if (name, edge.cause) not in forbidden and not (static and name.startswith("events.")):
            graph.add_edge(name, edge.cause)
    ends = {edge.cause, edge.effect, *(name for name in candidates if name not in after and name in graph)}
    return graph.subgraph(ends.union(*(nx.ancestors(graph, name) for name in ends))).copy()
