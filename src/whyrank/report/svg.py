"""What every picture of the report is made of: escaped SVG text, widths of letters, round axis limits."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Axis", "fit", "join", "nice_limit", "tag", "text_width"]

_EMPTY = Markup("")


def tag(name: str, body: object = None, /, **attributes: object) -> Markup:
    """Return one element; every attribute and a body that isn't Markup is escaped, `_` in a name becomes `-`.

    Examples
    --------
    >>> print(tag("text", "a<b", x=1.0, class_="n"))
    <text x="1" class="n">a&lt;b</text>
    """
    parts = [
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"), f"{value:.4g}" if isinstance(value, float) else value
        )
        for key, value in attributes.items()
        if value is not None
    ]
    head = Markup("<{}{}").format(name, _EMPTY.join(parts))
    return head + Markup("/>") if body is None else head + Markup(">{}</{}>").format(body, name)


def join(parts: list[Markup]) -> Markup:
    """Put elements one after another."""
    return _EMPTY.join(parts)


def text_width(text: str, size: float = 13.0) -> float:
    """Estimate the width of `text` in pixels, on the wide side."""
    return size * sum(_em(c) for c in text)


def _em(letter: str) -> float:
    if letter in "WMmw@%—…" or unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return 0.75 if letter.isupper() else 0.6


def fit(text: str, width: float, size: float = 13.0) -> str:
    """Cut `text` in the middle so that it is no wider than `width` pixels.

    Examples
    --------
    >>> fit("free_shipping", 200)
    'free_shipping'
    >>> fit("a_very_long_name_indeed", 80)
    'a_ve…deed'
    """
    if text_width(text, size) <= width:
        return text
    head, tail = text, text
    room = (width - text_width("…", size)) / 2
    while head and text_width(head, size) > room:
        head = head[:-1]
    while tail and text_width(tail, size) > room:
        tail = tail[1:]
    return f"{head}…{tail}"


def nice_limit(value: float) -> float:
    """Round a positive number up to 1, 1.5, 2, 3, 4, 5, 6, 8 or 10 times a power of ten.

    Examples
    --------
    >>> nice_limit(0.0234), nice_limit(7.2), nice_limit(0.0)
    (0.03, 8.0, 1.0)
    """
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = math.floor(math.log10(value))
    for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10):
        limit = float(f"{step}e{power}")
        if limit >= value * (1 - 1e-9):
            return limit
    return float(f"1e{power + 1}")


@dataclass(frozen=True)
class Axis:
    """A symmetric axis about zero: values in ±`limit` are drawn between `left` and `right` pixels."""

    limit: float
    left: float
    right: float

    def at(self, value: float) -> float:
        """Pixel of `value`, held inside the axis."""
        share = (min(max(value, -self.limit), self.limit) + self.limit) / (2 * self.limit)
        return self.left + share * (self.right - self.left)
