"""Identification: by which comparison an association is an effect, or what stands in the way.

Strategies are tried in this order: the back door (all columns that come before, else a smallest set), the front door
(everything that the cause acts through is measured), an instrument (something that moves the cause and nothing else).
networkx searches, and DoWhy's criteria have the last word on the graph, pruned to what matters for the edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.estimators.graph import (
    active_path,
    assume,
    descendants,
    draw,
    graph_for,
    graph_of,
    measured_colliders,
    reached,
    with_ancestors,
)

__all__ = ["Identification", "Strategy", "identify"]

MAX_ALONE = 8
"""Instruments for each of which a smallest set of its own is looked for, when all columns together won't do."""

Strategy = Literal["back-door", "front-door", "instrument", "blocked"]


@dataclass(frozen=True)
class Identification:
    """The answer for one edge.

    Attributes
    ----------
    adjust : names to adjust for, in the study's order.
    excluded : names left out because they descend from the cause or the effect (mediators, colliders).
    open_path : empty, or the back-door path that no measured column closes, drawn with arrows; with the strategies
        "front-door" and "instrument" it is what they get around.
    strategy : what identifies the effect on all rows.
    rescue : names to adjust for on rows whose item was drawn at random (or weighted as if it were), if that closes the
        path; else None.
    granted : unmeasured causes on that path that a random item leaves behind only if they aren't its own properties.
    trusted : columns that the user declared to follow from unmeasured causes, and that are left out because nothing
        was declared to follow from them.
    mediators, instruments : names of either strategy.
    confirmed : whether the user named the instruments; a proposer's suggestion is a hypothesis itself.
    conditioned : a column on the open path that adjusting for opens, if there is one.
    """

    adjust: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    open_path: str = ""
    strategy: Strategy = "back-door"
    rescue: tuple[str, ...] | None = None
    granted: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    confirmed: bool = True
    conditioned: str = ""

    @property
    def rescuable(self) -> bool:
        """Whether rows whose item was drawn at random close the open path."""
        return self.rescue is not None


def identify(
    data: StudyData, edge: Edge, candidates: tuple[str, ...], *, suggested: Sequence[str] = ()
) -> Identification:
    """Find how the effect of `edge` can be told from what is measured.

    All pre-treatment columns are adjusted for when that satisfies the back-door criterion (Pearl 1993), since they also
    take noise out of the outcome; else a minimal separator. If there is none: the front-door criterion (Pearl 1995)
    with what the user declared to lie between cause and effect; then instruments, given the columns (Brito and Pearl
    2002): columns that the user declared to act on the cause and forbade to act on the effect, or suggested ones.

    Parameters
    ----------
    data : the study.
    edge : the edge; its modifier plays no part here.
    candidates : attributes of the panel that may be adjusted for, the cause itself left out.
    suggested : attributes that a proposer takes for instruments.
    """
    declared = graph_of(data, edge)
    after = descendants(declared, edge)
    excluded = tuple(name for name in candidates if name in after)
    before = tuple(name for name in candidates if name not in after)
    graph = graph_for(data, edge, candidates)
    named = _known_instruments(data, declared, edge, before)
    # Instruments close no path, and adjusting for them amplifies what is hidden (Pearl 2010, UAI 26).
    found = _back_door(graph, edge, tuple(name for name in before if name not in named))
    if found is None and named:
        found = _back_door(graph, edge, before)
    if found is not None:
        return Identification(found, excluded)
    trusted = measured_colliders(graph, before)
    if trusted:
        bare = _without_assumptions(graph, trusted)
        found = _back_door(bare, edge, tuple(name for name in before if name not in trusted))
        if found is not None:
            return Identification(found, excluded, trusted=tuple(name for name in before if name in trusted))
    blocked = _blocked(graph, edge, before, excluded)
    mediators = _front_door(data, graph, edge, before, excluded)
    if mediators is not None:
        return replace(blocked, strategy="front-door", adjust=mediators[1], mediators=mediators[0])
    found_instruments = _instruments(data, graph, edge, before, named)
    if found_instruments is None and suggested:
        wanted = tuple(name for name in before if name in set(suggested))
        found_instruments = _instruments(data, _with_exclusion(graph, edge, wanted), edge, before, wanted)
        blocked = replace(blocked, confirmed=found_instruments is None)
    if found_instruments is not None:
        instruments, adjust = found_instruments
        return replace(blocked, strategy="instrument", adjust=adjust, instruments=instruments)
    return blocked


def _closes(
    graph: nx.DiGraph, start: Sequence[str], ends: Sequence[str], given: Sequence[str], *, cut: Sequence[str]
) -> bool:
    """Whether `given` separates `start` from `ends` once the arrows out of `cut` are taken away; DoWhy must agree."""
    from dowhy.graph import (  # takes seconds to import: only when something is judged
        check_valid_backdoor_set,
        do_surgery,
    )

    inside = [name for name in given if name in graph]
    if not reached(graph, start, inside, cut=cut).isdisjoint(ends):
        return False
    surgery = do_surgery(graph, list(cut), remove_outgoing_edges=True)
    return bool(check_valid_backdoor_set(graph, list(start), list(ends), inside, new_graph=surgery)["is_dseparated"])


def _back_door(graph: nx.DiGraph, edge: Edge, before: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return what to adjust for, or None if nothing among `before` closes every path."""
    ends = [edge.cause], [edge.effect]
    if _closes(graph, *ends, before, cut=[edge.cause]):
        return before
    # If any of them separates cause and effect, those among their ancestors do.
    above = with_ancestors(graph, {edge.cause, edge.effect}, {edge.cause})
    if edge.effect in reached(graph, ends[0], above.intersection(before), cut=ends[0]):
        return None
    separator = _separator(graph, edge.cause, edge.effect, before, cut=edge.cause)
    return separator if separator is not None and _closes(graph, *ends, separator, cut=[edge.cause]) else None


def _separator(graph: nx.DiGraph, start: str, end: str, names: tuple[str, ...], *, cut: str) -> tuple[str, ...] | None:
    """Return a smallest set among `names` that separates two nodes once the arrows out of `cut` are taken away."""
    surgery = graph.copy()
    surgery.remove_edges_from(list(graph.out_edges(cut)))
    found = nx.find_minimal_d_separator(surgery, start, end, restricted={name for name in names if name in graph})
    return None if found is None else tuple(name for name in names if name in found)


def _without_assumptions(graph: nx.DiGraph, names: set[str]) -> nx.DiGraph:
    """Return the graph without the arrows out of these names that nobody declared."""
    bare = graph.copy()
    bare.remove_edges_from([(u, v) for u, v, assumed in graph.out_edges(names, data="assumed") if assumed])
    return bare


def _known_instruments(data: StudyData, declared: nx.DiGraph, edge: Edge, before: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that the user declared to act on the cause and forbade to act on the effect."""
    forbidden = {arrow.cause for arrow in data.config.graph.forbidden if arrow.effect == edge.effect}
    above = nx.ancestors(declared, edge.cause)
    return tuple(name for name in before if name in above and name in forbidden)


def _blocked(graph: nx.DiGraph, edge: Edge, before: tuple[str, ...], excluded: tuple[str, ...]) -> Identification:
    """Name the path that stays open, and say whether a random item would close it."""
    given = with_ancestors(graph, {edge.cause, edge.effect}, {edge.cause}).intersection(before)
    path = active_path(graph, edge.cause, edge.effect, given)
    rescue = _at_random(graph, edge, before)
    granted: tuple[str, ...] = ()
    if rescue is not None:
        hidden = [node for node in path if graph.nodes[node].get("observed") is False]
        granted = tuple(name for name in hidden if not name.startswith(("items.", "users.", "events.")))
    conditioned = next((name for name in path[1:-1] if name in given), "")
    return Identification(before, excluded, draw(graph, path), "blocked", rescue, granted, conditioned=conditioned)


def _at_random(graph: nx.DiGraph, edge: Edge, before: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return what to adjust for where the item was drawn at random, or None if paths stay open there too.

    A random item has nothing to do with the user, the moment or the policy: arrows from anything else into attributes
    of items are gone. What the items bring along themselves (hidden causes named `items.`) is still there, and causes
    that aren't attributes of the item weren't drawn at all.
    """
    if not edge.cause.startswith("items."):
        return None
    drawn = graph.copy()
    drawn.remove_edges_from([(u, v) for u, v in graph.edges if v.startswith("items.") and not u.startswith("items.")])
    return _back_door(drawn, edge, before)


def _front_door(
    data: StudyData, graph: nx.DiGraph, edge: Edge, before: tuple[str, ...], excluded: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return (mediators, names to adjust for) that satisfy the front-door criterion given those names, or None."""
    between = nx.descendants(graph, edge.cause) & nx.ancestors(graph, edge.effect) if edge.cause in graph else set()
    measured = {name for name in excluded if name in between}
    if not measured or graph.has_edge(edge.cause, edge.effect):
        return None
    graph = graph.copy()
    for mediator in sorted(measured):
        assume(data, graph, before, mediator)
    nearest = _first(graph.succ, edge.cause, measured), _first(graph.pred, edge.effect, measured)
    for mediators in (measured, *nearest):
        for adjust in (before, ()):
            if _is_front_door(graph, edge, sorted(mediators), adjust):
                return tuple(name for name in excluded if name in mediators), adjust
    return None


def _first(onward: Mapping[str, Iterable[str]], start: str, names: set[str]) -> set[str]:
    """Return those names that are met first on the ways from `start`."""
    seen, todo, met = {start}, [start], set()
    while todo:
        for following in onward[todo.pop()]:
            if following in names:
                met.add(following)
            elif following not in seen:
                seen.add(following)
                todo.append(following)
    return met


def _is_front_door(graph: nx.DiGraph, edge: Edge, mediators: list[str], adjust: tuple[str, ...]) -> bool:
    """Whether the three conditions of the front-door criterion hold, given the columns adjusted for; DoWhy must agree.

    Every way from cause to effect leads through a mediator; nothing confounds cause and mediators; the cause closes
    every back-door path from the mediators to the effect.
    """
    from dowhy.graph import check_valid_frontdoor_set, do_surgery

    cause, effect = [edge.cause], [edge.effect]
    if nx.has_path(nx.restricted_view(graph, mediators, []), edge.cause, edge.effect):
        return False
    if not _closes(graph, cause, mediators, adjust, cut=cause):
        return False
    if not _closes(graph, mediators, effect, [*adjust, edge.cause], cut=mediators):
        return False
    no_way_in = do_surgery(graph, cause, remove_incoming_edges=True)
    inside = [name for name in adjust if name in graph]
    return bool(check_valid_frontdoor_set(graph, cause, effect, [*mediators, *inside], new_graph=no_way_in))


def _instruments(
    data: StudyData, graph: nx.DiGraph, edge: Edge, before: tuple[str, ...], named: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return (instruments, names to adjust for), or None if none of those named is one.

    An instrument is tied to the cause, and separated from the effect by the columns adjusted for once the cause's own
    arrows are taken away.
    """
    named = tuple(name for name in named if name in graph)
    if not named:
        return None
    graph = graph.copy()
    for name in named:
        assume(data, graph, [other for other in before if other not in named], name)
    valid = named
    for _ in named:
        adjust = tuple(name for name in before if name not in valid)
        inside = [name for name in adjust if name in graph]
        tied = reached(graph, [edge.cause], inside)
        leaks = reached(graph, [edge.effect], inside, cut=[edge.cause])
        kept = tuple(name for name in valid if name in tied and name not in leaks)
        if kept == valid:
            return (valid, adjust) if _closes(graph, valid, [edge.effect], adjust, cut=[edge.cause]) else None
        if not kept:
            break
        valid = kept
    for name in named[:MAX_ALONE]:
        others = tuple(other for other in before if other != name)
        separator = _separator(graph, name, edge.effect, others, cut=edge.cause)
        if separator is None or name not in reached(graph, [edge.cause], [n for n in separator if n in graph]):
            continue
        if _closes(graph, [name], [edge.effect], separator, cut=[edge.cause]):
            return (name,), separator
    return None


def _with_exclusion(graph: nx.DiGraph, edge: Edge, names: tuple[str, ...]) -> nx.DiGraph:
    """Return the graph as it would be if these names acted on the effect through the cause alone."""
    suggested = graph.copy()
    suggested.remove_edges_from(
        [(u, v) for u, v, assumed in graph.out_edges(names, data="assumed") if assumed and v == edge.effect]
    )
    return suggested
