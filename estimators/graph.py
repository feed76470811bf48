"""The causal graph of one study: what the user declared, completed by what the tiers imply."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from itertools import pairwise

import networkx as nx

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.errors import StudyFileError

__all__ = [
    "active_path",
    "assume",
    "declared_graph",
    "descendants",
    "draw",
    "graph_for",
    "graph_of",
    "measured_colliders",
    "reached",
    "with_ancestors",
]


def declared_graph(data: StudyData) -> nx.DiGraph:
    """Return the known edges as a graph: the user's own, and what features are made from; hidden: `observed=False`.

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
    for name, attribute in data.attributes.items():
        graph.add_edges_from((parent, name) for parent in attribute.follows)
    if nx.is_directed_acyclic_graph(graph):
        return graph
    cycle = [source for source, *_ in nx.find_cycle(graph)]
    raise StudyFileError(f"[graph] edges form a cycle: {' -> '.join([*cycle, cycle[0]])}")


def descendants(graph: nx.DiGraph, edge: Edge) -> set[str]:
    """Return everything in a graph that descends from the edge's cause, or from its effect."""
    return {*nx.descendants(graph, edge.cause), *nx.descendants(graph, edge.effect)}


def graph_of(data: StudyData, edge: Edge) -> nx.DiGraph:
    """Return the declared graph with the edge itself, and with the outcome of which a user's total is the sum."""
    graph = declared_graph(data)
    graph.add_nodes_from((edge.cause, edge.effect))
    total_of = _total_of(data, edge.effect)
    if total_of:
        graph.add_edge(total_of, edge.effect)
    forbidden = {(arrow.cause, arrow.effect) for arrow in data.config.graph.forbidden}
    if (edge.cause, edge.effect) not in forbidden and not graph.has_edge(edge.cause, edge.effect):
        graph.add_edge(edge.cause, edge.effect)
    return graph


def graph_for(data: StudyData, edge: Edge, candidates: tuple[str, ...]) -> nx.DiGraph:
    """Return the graph on which one edge is identified; arrows that nobody declared are marked `assumed=True`.

    Every candidate is taken as a possible common cause of cause and effect: what nobody has ruled out (`[graph]
    forbidden`) must be adjusted for. A context attribute can't cause a static one (tiers), so for a static cause it is
    a parent of the effect alone. The graph is pruned to cause, effect, what may be adjusted for, and their ancestors.
    """
    graph = graph_of(data, edge)
    after = descendants(graph, edge)
    before = [name for name in candidates if name not in after]
    assume(data, graph, before, edge.effect)
    assume(data, graph, before, edge.cause)
    ends = {edge.cause, edge.effect, *(name for name in before if name in graph)}
    return graph.subgraph(with_ancestors(graph, ends)).copy()


def assume(data: StudyData, graph: nx.DiGraph, names: Iterable[str], target: str) -> None:
    """Add an arrow from each name to `target` unless the user ruled it out, the tiers do, or it would close a cycle."""
    forbidden = {(arrow.cause, arrow.effect) for arrow in data.config.graph.forbidden}
    aliases = {target, _total_of(data, target)}
    static = not target.startswith("events.") and target not in _totals(data)
    below = nx.descendants(graph, target) if target in graph else set()
    for name in names:
        ruled_out = any((name, alias) in forbidden for alias in aliases)
        if name == target or ruled_out or name in below or (static and name.startswith("events.")):
            continue
        if not graph.has_edge(name, target):
            graph.add_edge(name, target, assumed=True)


def measured_colliders(graph: nx.DiGraph, names: Iterable[str]) -> set[str]:
    """Return the names that the user declared to have an unmeasured cause and at least one other."""
    hidden = {node for node, observed in graph.nodes(data="observed") if observed is False}
    found = set()
    for name in names:
        arrows = graph.in_edges(name, data="assumed") if name in graph else ()
        parents = {parent for parent, _, assumed in arrows if not assumed}
        if len(parents) > 1 and parents & hidden:
            found.add(name)
    return found


def reached(
    graph: nx.DiGraph, start: Collection[str], given: Collection[str], *, cut: Collection[str] = ()
) -> set[str]:
    """Return the nodes to which association flows from any of `start`, given some others.

    Parameters
    ----------
    graph : need not be acyclic.
    start, given : sets of nodes, disjoint.
    cut : nodes whose arrows out are taken away.
    """
    end, _ = _walk(graph, start, "", set(given), with_ancestors(graph, given, cut), set(cut))
    return {node for node, _ in end}


def active_path(graph: nx.DiGraph, start: str, end: str, given: Collection[str]) -> list[str]:
    """Return a shortest path by which association flows between two nodes once `start`'s arrows out are taken away.

    It flows through chains and forks that aren't given, and through colliders that are given or lead to one that is;
    paths without colliders are preferred; [] if there is none (Pearl 2009, section 1.2.3).
    """
    for colliders in (set[str](), with_ancestors(graph, given, {start})):
        came, last = _walk(graph, [start], end, set(given), colliders, {start})
        path: list[str] = []
        while last is not None:
            path.append(last[0])
            last = came[last]
        if path:
            return path[::-1]
    return []


def draw(graph: nx.DiGraph, path: list[str]) -> str:
    """Return a path that enters its first node as text: `items.price <- items.quality -> events.purchase`."""
    out = (here != path[0] and graph.has_edge(here, there) for here, there in pairwise(path))
    arrows = (f"{'->' if along else '<-'} {there}" for along, there in zip(out, path[1:], strict=True))
    return " ".join([path[0], *arrows])


State = tuple[str, bool]
"""A node on a path, and whether it was entered along an arrow."""


def _walk(
    graph: nx.DiGraph, start: Collection[str], end: str, given: set[str], colliders: set[str], cut: set[str]
) -> tuple[dict[State, State | None], State | None]:
    """Walk breadth first from `start` until `end`; returns where each state was come from, and the last one."""
    came: dict[State, State | None] = {(node, False): None for node in sorted(start)}
    todo = deque(came)
    while todo:
        state = todo.popleft()
        node, along = state
        if node == end:
            return came, state
        onward: list[State] = []
        if node not in given and node not in cut:
            onward += [(child, True) for child in graph.successors(node)]
        if node in colliders if along else node not in given:
            onward += [(parent, False) for parent in graph.predecessors(node) if parent not in cut]
        for following in onward:
            if following not in came:
                came[following] = state
                todo.append(following)
    return came, None


def with_ancestors(graph: nx.DiGraph, nodes: Collection[str], cut: Collection[str] = ()) -> set[str]:
    """Return the nodes and everything that leads to them, without arrows out of `cut`."""
    seen = {node for node in nodes if node in graph}
    todo = list(seen)
    while todo:
        for parent in graph.predecessors(todo.pop()):
            if parent not in seen and parent not in cut:
                seen.add(parent)
                todo.append(parent)
    return seen


def _totals(data: StudyData) -> set[str]:
    return {f"users.{outcome.column}" for outcome in data.outcomes.values()} - set(data.attributes)


def _total_of(data: StudyData, name: str) -> str:
    """Return the outcome of which `name` is a user's total, or ""."""
    return f"events.{name.split('.', 1)[1]}" if name in _totals(data) else ""
