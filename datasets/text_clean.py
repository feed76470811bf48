"""Texts of the catalogue as they are read: one plain text an item, without markup, bounded, and without ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["MASK", "IdMask", "clean_text", "item_texts", "shorten", "text_hash"]

MASK = "#"
"""What stands where an id stood."""

_WIDE = 2.5
"""A Chinese character is about as many tokens as so many Latin letters, or more."""
_MOST_WORDS = 8
_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|(?:(?![\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff])\w)+")
"""A Chinese, Japanese or Korean character, or a run of other letters and digits."""
_SILENT = ("script", "style", "template", "noscript")
_BLOCKS = ("p", "br", "div", "li", "tr", "td", "h1", "h2", "h3", "h4", "ul", "ol", "table")


class _Plain(HTMLParser):
    """Collects what a reader of the page would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        if tag in _BLOCKS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def clean_text(text: object) -> str:
    """Return a text without tags, entities, control characters and runs of white space; "" for what is no text.

    Examples
    --------
    >>> clean_text("<p>Blue&nbsp;mug</p><script>alert(1)</script> <b>dish</b>washer-safe, &lt; 1 l")
    'Blue mug dishwasher-safe, < 1 l'
    """
    if not isinstance(text, str):
        return ""
    if "<" in text or "&" in text:
        page = _Plain()
        page.feed(text)
        page.close()
        text = "".join(page.parts)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def item_texts(items: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return one cleaned text an item: its text columns, one after the other.

    Examples
    --------
    >>> item_texts(pd.DataFrame({"title": ["Mug", None], "more": ["<i>Blue</i>", ""]}), ["title", "more"])
    ['Mug. Blue', '']
    """
    parts = [[clean_text(text) for text in items[column].tolist()] for column in columns]
    return [_joined(row) for row in zip(*parts, strict=True)] if parts else [""] * len(items)


def _joined(parts: Iterable[str]) -> str:
    whole = ""
    for part in parts:
        if part and whole:
            ends = whole[-1] in ".!?。！？…"
            wide = not whole[-1].isascii()
            whole += ("" if ends else "。") if wide else (" " if ends else ". ")
        whole += part
    return whole


def text_hash(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def shorten(text: str, longest: int) -> str:
    """Return the beginning of a text, at most `longest` Latin letters or fewer Chinese ones, ending at a word.

    Examples
    --------
    >>> shorten("A kettle that boils a litre in a minute", 22)
    'A kettle that boils a…'
    >>> shorten("一分钟烧开一升水的电热水壶", 20)
    '一分钟烧开一升水…'
    """
    room = float(longest)
    for i, letter in enumerate(text):
        room -= 1.0 if letter.isascii() else _WIDE
        if room < 0:
            head, _, tail = text[:i].rpartition(" ")
            return (head if head and len(tail) < 20 else text[:i]).rstrip() + "…"
    return text


class IdMask:
    """Replaces the ids of users and items in texts, as whole words in any case, by `MASK`.

    Parameters
    ----------
    ids
        All ids of the study. One of several words, like `mug 12`, is found as those words.

    Examples
    --------
    >>> IdMask(["item-0007", "42", "Anna K."])("See ITEM-0007 or item-00071; 42 sold; ask anna k.")
    'See # or item-00071; # sold; ask #.'
    >>> IdMask(["i001"])("商品i001很好")
    '商品#很好'
    """

    def __init__(self, ids: Iterable[object]) -> None:
        self._ids: set[str] = set()
        self._longest = 1
        for one in ids:
            words = list(_WORD.finditer(str(one).casefold()))
            if words:
                self._ids.add(str(one).casefold()[words[0].start() : words[-1].end()])
                self._longest = max(self._longest, min(len(words), _MOST_WORDS))

    def __call__(self, text: str, own: object = "") -> str:
        """Return the text without ids; the item's `own` id is taken out within words too if it isn't a short number."""
        own_id = str(own).strip()
        if len(own_id) > 2 and not (own_id.isdigit() and len(own_id) < 5) and own_id.casefold() in text.casefold():
            text = re.sub(re.escape(own_id), MASK, text, flags=re.IGNORECASE)
        folded = text.casefold()
        if len(folded) != len(text):  # a letter like İ folds into two: positions would no longer agree
            folded = text.lower() if len(text.lower()) == len(text) else text
        spans = [match.span() for match in _WORD.finditer(text)]
        parts, done, i = [], 0, 0
        while i < len(spans):
            width = self._width(folded, spans, i)
            if width:
                parts += [text[done : spans[i][0]], MASK]
                done = spans[i + width - 1][1]
            i += max(width, 1)
        return "".join([*parts, text[done:]])

    def _width(self, folded: str, spans: list[tuple[int, int]], first: int) -> int:
        """Number of words from `first` on that are an id together; 0 if none are."""
        for width in range(min(self._longest, len(spans) - first), 0, -1):
            if folded[spans[first][0] : spans[first + width - 1][1]] in self._ids:
                return width
        return 0

    def all(self, texts: Sequence[str], owners: npt.NDArray[np.object_]) -> list[str]:
        """Mask each text, with the id of the item that it belongs to."""
        return [self(text, own) for text, own in zip(texts, owners, strict=True)]
