"""What may cause what: one rule for every proposer and for the judge."""

from __future__ import annotations

from collections.abc import Iterable

from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.edge import Edge
from whyrank.errors import nearest

__all__ = ["allowed", "outcome_totals", "possible_causes", "possible_modifiers"]

_BEFORE: dict[str, tuple[str, ...]] = {
    "users": ("users",),
    "items": ("items",),
    "events": ("users", "items", "events"),
}
"""Tables whose attributes may act on an attribute of the table: people and items come before the exposure."""

_ROLE_REASONS = {
    "confounder": "is a confounder: it is adjusted for, and never tested as a cause",
    "modifier": "is a modifier: it only changes effects, and is never tested as a cause",
    "ignore": 'is left out of this study (constant, or role = "ignore")',
}


def allowed(edge: Edge, data: StudyData) -> str:
    """Return "" if the edge can be tested in this study, else the reason why it can't, as a sentence.

    Attributes of users and items come before the context of an exposure, and that before the outcomes. A cause is an
    attribute with role "any"; an effect is an outcome, a user's total of one, or a numeric or binary attribute that
    doesn't come earlier. Edges that the study forbids can't be tested, unless its known ones lead from cause to effect
    by another way; nor can edges against its known ones.
    """
    return (
        _about_cause(edge.cause, data)
        or _about_effect(edge, data)
        or _about_graph(edge, data)
        or _about_scale(edge, data)
        or _about_modifier(edge, data)
    )


def outcome_totals(data: StudyData) -> tuple[str, ...]:
    """Names of the users' totals of the outcomes (`users.Y`), without those that are columns of the user table."""
    names = (f"users.{outcome.column}" for outcome in data.outcomes.values())
    return tuple(name for name in names if name not in data.attributes)


def _is_total(name: str, data: StudyData) -> bool:
    table, _, column = name.partition(".")
    return table == "users" and f"events.{column}" in data.outcomes and name not in data.attributes


def possible_causes(data: StudyData) -> list[Attribute]:
    """Attributes that may be tested as causes, in the study's order."""
    return [attribute for name, attribute in data.attributes.items() if not _about_cause(name, data)]


def possible_modifiers(cause: str, effect: str, data: StudyData) -> list[Attribute]:
    """Attributes that may modify the effect of `cause` on `effect`, in the study's order."""
    ends = (cause, effect)
    return [a for name, a in data.attributes.items() if name not in ends and not allowed(Edge(*ends, name), data)]


def _about_cause(name: str, data: StudyData) -> str:
    attribute = data.attributes.get(name)
    if attribute is None:
        if name in data.outcomes or _is_total(name, data):
            return f"{name!r} is an outcome, and outcomes are not tested as causes"
        return _no_attribute(name, data)
    if attribute.role != "any":
        return f"{name!r} {_ROLE_REASONS[attribute.role]}"
    return _constant(attribute)


def _about_effect(edge: Edge, data: StudyData) -> str:
    name, source = edge.effect, edge.cause.split(".", 1)[0]
    if name in data.outcomes:
        return ""
    if _is_total(name, data):
        if source == "users":
            return ""
        column = name.split(".", 1)[1]
        return f"{name!r} is a user's total over many exposures, and {edge.cause!r} varies: test 'events.{column}'"
    attribute = data.attributes.get(name)
    if attribute is None:
        return _no_attribute(name, data)
    if attribute.role == "ignore":
        return f"{name!r} {_ROLE_REASONS['ignore']}"
    if source not in _BEFORE[attribute.table]:
        return f"{edge.cause!r} does not come before {name!r}: no attribute of {source} causes one of {attribute.table}"
    return _constant(attribute)


def _about_scale(edge: Edge, data: StudyData) -> str:
    attribute = data.attributes.get(edge.effect)
    if attribute is None or attribute.kind in ("numeric", "binary"):
        return ""
    return f"{edge.effect!r} is {attribute.kind}: only a numeric or binary attribute can be an effect"


def _about_graph(edge: Edge, data: StudyData) -> str:
    graph = data.config.graph
    ends = (edge.cause, edge.effect)
    forbidden = any((known.cause, known.effect) == ends for known in graph.forbidden)
    if forbidden and not _leads(*ends, graph.edges):  # by way of others there may be an effect all the same
        return f"the study forbids '{edge.cause} -> {edge.effect}'"
    if _leads(edge.effect, edge.cause, graph.edges):
        return f"the study's graph leads from {edge.effect!r} to {edge.cause!r}, so the reverse would be a cycle"
    return ""


def _about_modifier(edge: Edge, data: StudyData) -> str:
    if edge.modifier is None:
        return ""
    name = edge.modifier
    attribute = data.attributes.get(name)
    if attribute is None:
        if name in data.outcomes or _is_total(name, data):
            return f"{name!r} is an outcome, and outcomes don't modify effects"
        return _no_attribute(name, data)
    if attribute.role == "ignore":
        return f"{name!r} {_ROLE_REASONS['ignore']}"
    if edge.effect.startswith("users.") and attribute.table != "users":
        return f"{name!r} differs between the exposures of a user, so it can't modify an effect on {edge.effect!r}"
    if _leads(edge.cause, name, data.config.graph.edges):
        return f"the study's graph leads from {edge.cause!r} to {name!r}, so it can't modify that cause's effect"
    return _constant(attribute)


def _no_attribute(name: str, data: StudyData) -> str:
    table, column = name.split(".", 1)
    config = data.config
    if table == "items" and column in config.items.text:
        return f"{name!r} is a text column, and a text is never a cause itself"
    events = config.events
    keys = {
        "users": (config.users.key,),
        "items": (config.items.key, config.items.available_from, config.items.available_to),
        "events": (events.user, events.item, events.time, events.propensity, events.randomised),
    }
    if column in keys[table]:
        return f"{name!r} is a key, a time or part of the design, not an attribute"
    known = (*data.attributes, *data.outcomes, *outcome_totals(data))
    return f"this study has no {name!r}{nearest(name, known)}"


def _constant(attribute: Attribute) -> str:
    if attribute.kind != "numeric" and len(attribute.levels) < 2:
        return f"{attribute.name!r} has the same value everywhere"
    return ""


def _leads(start: str, end: str, edges: Iterable[Edge]) -> bool:
    """Whether a directed path goes from `start` to `end`."""
    onward: dict[str, list[str]] = {}
    for edge in edges:
        onward.setdefault(edge.cause, []).append(edge.effect)
    seen, todo = {start}, [start]
    while todo:
        for following in onward.get(todo.pop(), ()):
            if following == end:
                return True
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return False
