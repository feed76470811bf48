"""Small pictures beside the numbers: interval rows on a common axis, and placebo draws around zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from whyrank.estimators.estimate import Estimate, Judgement
from whyrank.report.numbers import effect_text, scale_factor, unit_text
from whyrank.report.svg import Axis, join, nice_limit, tag

__all__ = ["axis_groups", "axis_key", "draw_compare", "draw_draws", "draw_row"]

_W, _H, _SIDE = 300.0, 24.0, 46.0


def axis_key(estimate: Estimate) -> str:
    """Rows with the same key share an axis: a scale, and for means the outcome too, since its unit is its own."""
    return estimate.scale if estimate.scale != "mean" else f"mean of {estimate.contrast.edge.effect}"


def _extent(estimate: Estimate) -> float:
    values = [abs(v) for v in (estimate.ci_low, estimate.ci_high, estimate.naive) if math.isfinite(v)]
    return max(values, default=0.0)


def axis_groups(judgements: Iterable[Judgement]) -> dict[str, Axis]:
    """Return one axis per group of rows, wide enough for its validated and refuted rows; wider ones end in an arrow."""
    telling: dict[str, list[float]] = {}
    others: dict[str, list[float]] = {}
    for judgement in judgements:
        if math.isfinite(judgement.estimate.estimate):
            group = telling if judgement.verdict in ("validated", "refuted") else others
            group.setdefault(axis_key(judgement.estimate), []).append(_extent(judgement.estimate))
    limits = {key: float(np.quantile(values, 0.75)) for key, values in others.items()}
    limits |= {key: max(values) for key, values in telling.items()}
    return {key: Axis(nice_limit(limit), _SIDE, _W - _SIDE) for key, limit in limits.items()}


def _cap(axis: Axis, value: float, y: float) -> Markup:
    """An arrow where an interval leaves the axis."""
    if abs(value) <= axis.limit:
        return Markup("")
    x, back = (axis.right, -6) if value > 0 else (axis.left, 6)
    return tag("path", d=f"M{x + back:.1f} {y - 4:.1f}L{x:.1f} {y:.1f}L{x + back:.1f} {y + 4:.1f}", class_="cap")


def _interval(axis: Axis, estimate: Estimate, y: float) -> list[Markup]:
    low, high = estimate.ci_low, estimate.ci_high
    parts: list[Markup] = []
    if math.isfinite(low) and math.isfinite(high):
        parts = [
            tag("path", d=f"M{axis.at(low):.1f} {y:.1f}H{axis.at(high):.1f}", class_="ci"),
            _cap(axis, low, y),
            _cap(axis, high, y),
        ]
    if abs(estimate.estimate) <= axis.limit:
        parts.append(tag("circle", cx=axis.at(estimate.estimate), cy=y, r=4.0, class_="est"))
    return parts


def _naive(axis: Axis, value: float, y: float) -> Markup:
    if not math.isfinite(value):
        return Markup("")
    x = axis.at(value)
    return tag(
        "path", d=f"M{x - 5:.1f} {y:.1f}L{x:.1f} {y - 5:.1f}L{x + 5:.1f} {y:.1f}L{x:.1f} {y + 5:.1f}Z", class_="naive"
    )


def _end(value: float, scale: str) -> str:
    """The number at one end of an axis, short."""
    unit = unit_text(scale) if scale == "probability" else ""
    return f"{value * scale_factor(scale):+.3g} {unit}".strip()


def draw_row(judgement: Judgement, axis: Axis) -> Markup:
    """Draw one interval with its estimate, and the naive estimate as a hollow diamond."""
    estimate, y = judgement.estimate, _H / 2
    low, high = (_end(sign * axis.limit, estimate.scale) for sign in (-1, 1))
    parts = [
        tag("text", low, x=axis.left - 8, y=y + 4, text_anchor="end", class_="tick"),
        tag("text", high, x=axis.right + 8, y=y + 4, text_anchor="start", class_="tick"),
        tag("path", d=f"M{axis.left} 0V{_H:.0f}M{axis.right} 0V{_H:.0f}", class_="grid"),
        tag("path", d=f"M{axis.at(0):.1f} 0V{_H:.0f}", class_="zero"),
        _naive(axis, estimate.naive, y),
        *_interval(axis, estimate, y),
    ]
    return tag(
        "svg", join(parts), viewBox=f"0 0 {_W:.0f} {_H:.0f}", class_=f"row v-{judgement.verdict}", aria_hidden="true"
    )


def draw_compare(judgement: Judgement) -> Markup:
    """Draw the estimate above the naive one, on an axis of their own."""
    estimate = judgement.estimate
    if not math.isfinite(estimate.estimate):
        return Markup("")
    axis = Axis(nice_limit(_extent(estimate)), 100, 372)
    low, high = (effect_text(s * axis.limit, estimate.scale, width=axis.limit) for s in (-1, 1))
    parts = [
        tag("path", d="M100 4V52M372 4V52", class_="grid"),
        tag("path", d=f"M{axis.at(0):.1f} 4V52", class_="zero"),
        tag("text", "adjusted", x=90.0, y=20.0, text_anchor="end", class_="tick"),
        tag("text", "naive", x=90.0, y=44.0, text_anchor="end", class_="tick"),
        *_interval(axis, estimate, 16),
        _naive(axis, estimate.naive, 40),
        tag("text", low, x=100.0, y=66.0, text_anchor="middle", class_="tick"),
        tag("text", "0", x=axis.at(0), y=66.0, text_anchor="middle", class_="tick"),
        tag("text", high, x=372.0, y=66.0, text_anchor="middle", class_="tick"),
    ]
    return tag(
        "svg",
        join(parts),
        viewBox="0 0 420 70",
        class_=f"compare v-{judgement.verdict}",
        role="img",
        aria_label="Adjusted and naive estimate",
    )


def draw_draws(draws: Sequence[float], observed: float, scale: str) -> Markup:
    """Draw a histogram of `draws` with the observed effect marked; empty when there is nothing to draw."""
    values = np.asarray(draws, dtype=float)
    values = values[np.isfinite(values)]
    if values.size < 5 or not math.isfinite(observed):
        return Markup("")
    low, high = min(float(values.min()), observed), max(float(values.max()), observed)
    if high <= low:
        return Markup("")
    pad = (high - low) * 0.04
    edges = np.linspace(low - pad, high + pad, 41)
    counts, _ = np.histogram(values, bins=edges)
    left, right, base, top = 10.0, 410.0, 78.0, 14.0
    step = (right - left) / 40
    bars = "".join(
        f"M{left + i * step:.1f} {base:.0f}v-{(base - top) * c / counts.max():.1f}h{step - 0.8:.1f}V{base:.0f}z"
        for i, c in enumerate(counts.tolist())
        if c
    )
    x = left + (observed - edges[0]) / (edges[-1] - edges[0]) * (right - left)
    anchor = "start" if x < 140 else "end" if x > 280 else "middle"
    parts = [
        tag("path", d=bars, class_="bars"),
        tag("path", d=f"M{left} {base:.0f}H{right}", class_="zero"),
        tag("path", d=f"M{x:.1f} {top:.0f}V{base + 4:.0f}", class_="mark"),
        tag(
            "text",
            f"seen {effect_text(observed, scale, width=high - low)}",
            x=x,
            y=10.0,
            text_anchor=anchor,
            class_="tick strong",
        ),
        tag(
            "text",
            effect_text(float(edges[0]), scale, width=high - low),
            x=left,
            y=92.0,
            text_anchor="start",
            class_="tick",
        ),
        tag(
            "text",
            effect_text(float(edges[-1]), scale, width=high - low),
            x=right,
            y=92.0,
            text_anchor="end",
            class_="tick",
        ),
    ]
    return tag(
        "svg", join(parts), viewBox="0 0 420 96", class_="draws", role="img", aria_label="Histogram of placebo draws"
    )
