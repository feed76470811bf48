"""The causal map: attributes at the left, what they may move at the right, one line per judged contrast."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from whyrank.edge import Contrast
from whyrank.estimators.estimate import Judgement
from whyrank.report.order import VERDICTS, strength
from whyrank.report.svg import fit, join, tag, text_width

__all__ = ["MAX_EDGES", "CausalMap", "draw_causal_map"]

MAX_EDGES = 60
"""Lines drawn at most; the table has the rest."""

_WIDTH, _ROW, _HEAD, _LABEL = 1040.0, 22.0, 30.0, 360.0
_GROUPS = {"users": "Users", "items": "Items", "events": "Context"}


@dataclass(frozen=True)
class CausalMap:
    """The picture, and how many judged contrasts it shows and leaves out."""

    svg: Markup
    shown: int
    left_out: int


@dataclass(frozen=True)
class _Column:
    """Labels of one side with their heights: `y` by key."""

    y: dict[str, float]
    text: dict[str, str]
    heads: list[tuple[float, str]]
    height: float


def _cause_text(contrast: Contrast) -> str:
    text = contrast.edge.cause.split(".", 1)[1]
    if contrast.bracket:
        text += f"[{contrast.level}]"
    if contrast.edge.modifier:
        level = f"[{contrast.modifier_level}]" if contrast.modifier_bracket else ""
        text += f" | {contrast.edge.modifier}{level}"
    return text


def _cause_key(contrast: Contrast) -> str:
    return f"{contrast.edge.cause} {_cause_text(contrast)}"


def _stack(groups: Mapping[str, Sequence[tuple[str, str]]], row: float) -> _Column:
    y: dict[str, float] = {}
    text: dict[str, str] = {}
    heads: list[tuple[float, str]] = []
    at = 0.0
    for title, entries in groups.items():
        if not entries:
            continue
        at += _HEAD
        heads.append((at - 9, title))
        for key, label in entries:
            y[key], text[key] = at + row / 2, label
            at += row
    return _Column(y, text, heads, at + 10)


def _left(judgements: Sequence[Judgement]) -> _Column:
    """Rows in the order of their most interesting line, an attribute's levels kept together."""
    contrasts = [j.estimate.contrast for j in judgements]
    causes = list(dict.fromkeys(c.edge.cause for c in contrasts))
    groups: dict[str, list[tuple[str, str]]] = {title: [] for title in _GROUPS.values()}
    for cause in causes:
        rows = {_cause_key(c): _cause_text(c) for c in contrasts if c.edge.cause == cause}
        groups[_GROUPS[cause.split(".", 1)[0]]] += list(rows.items())
    return _stack(groups, _ROW)


def _right(judgements: Sequence[Judgement], outcomes: Sequence[str], height: float) -> _Column:
    effects = list(dict.fromkeys(j.estimate.contrast.edge.effect for j in judgements))
    columns = {name.split(".", 1)[1] for name in outcomes}
    totals = [e for e in effects if e.startswith("users.") and e[6:] in columns]
    direct = [e for e in outcomes if e in effects]
    others = [e for e in effects if e not in totals and e not in direct]
    groups = {
        "Outcomes": [(e, e.split(".", 1)[1]) for e in direct],
        "Totals per user": [(e, e.split(".", 1)[1]) for e in totals],
        "Attributes": [(e, e) for e in others],
    }
    heads = sum(_HEAD for entries in groups.values() if entries)
    row = max(_ROW + 6, min(120.0, (height - heads - 10) / max(1, len(effects))))
    return _stack(groups, row)


def _line(judgement: Judgement, start: tuple[float, float], end: tuple[float, float], width: float) -> Markup:
    bend = (end[0] - start[0]) * 0.45
    path = (
        f"M{start[0]:.1f} {start[1]:.1f}C{start[0] + bend:.1f} {start[1]:.1f} "
        f"{end[0] - bend:.1f} {end[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    )
    return tag("path", d=path, class_=f"edge v-{judgement.verdict}", stroke_width=f"{width:.1f}")


def _labels(column: _Column, x: float, width: float, anchor: str) -> list[Markup]:
    parts = [tag("text", title, x=x, y=y, class_="head", text_anchor=anchor) for y, title in column.heads]
    for key, y in column.y.items():
        name = tag("title", column.text[key])
        parts.append(
            tag("text", name + fit(column.text[key], width), x=x, y=y + 4.5, class_="name", text_anchor=anchor)
        )
    return parts


def draw_causal_map(
    judgements: Sequence[Judgement],
    *,
    anchors: Sequence[str],
    titles: Sequence[str],
    outcomes: Sequence[str],
    spread: Mapping[str, float],
) -> CausalMap:
    """Draw judgements that are sorted by interest; `anchors` and `titles` belong to them one by one."""
    shown = list(judgements[:MAX_EDGES])
    left = _left(shown)
    right = _right(shown, outcomes, left.height)
    height = max(left.height, right.height)
    shift = (height - right.height) / 2
    left_width = min(_LABEL, max((text_width(t) for t in left.text.values()), default=0.0) + 4)
    right_width = min(_LABEL, max((text_width(t) for t in right.text.values()), default=0.0) + 4)
    right_width = max(right_width, 120.0)
    x0, x1 = left_width + 12, _WIDTH - right_width - 12
    sizes = [strength(j.estimate, spread) for j in shown]
    telling = [size for j, size in zip(shown, sizes, strict=True) if j.verdict in ("validated", "refuted")]
    top = max(telling or sizes, default=0.0) or 1.0  # noise may look large: it sets no measure for what was found

    lines: list[tuple[int, Markup]] = []
    for judgement, anchor, title, size in zip(shown, anchors, titles, sizes, strict=False):
        contrast = judgement.estimate.contrast
        start = (x0, left.y[_cause_key(contrast)])
        end = (x1, right.y[contrast.edge.effect] + shift)
        line = _line(judgement, start, end, 1.2 + 6.8 * math.sqrt(min(1.0, size / top)))
        link = tag("a", tag("title", title) + line, href=f"#{anchor}")
        lines.append((-VERDICTS.index(judgement.verdict), link))
    lines.sort(key=lambda pair: pair[0])

    moved = _Column(
        {k: y + shift for k, y in right.y.items()},
        right.text,
        [(y + shift, t) for y, t in right.heads],
        right.height,
    )
    dots = [tag("circle", cx=x0, cy=y, r=3.5, class_="dot") for y in left.y.values()]
    dots += [tag("circle", cx=x1, cy=y, r=5.0, class_="dot") for y in moved.y.values()]
    body = join(
        [
            *(line for _, line in lines),
            *dots,
            *_labels(left, x0 - 10, left_width, "end"),
            *_labels(moved, x1 + 12, right_width, "start"),
        ]
    )
    svg = tag(
        "svg",
        body,
        viewBox=f"0 0 {_WIDTH:.0f} {height:.0f}",
        class_="map",
        role="img",
        aria_label="Causal map: attributes at the left, outcomes at the right",
    )
    return CausalMap(svg, len(shown), len(judgements) - len(shown))
