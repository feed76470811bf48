"""Columns that are the same thing under two names: by their values, or by how they are called and described."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute, StudyData

__all__ = ["Embed", "Twins", "find_twins"]

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""Returns one embedding a text, say an embedding endpoint's."""

Floats = npt.NDArray[np.float64]

SAME_CORRELATION = 0.9995
"""Two numeric or binary columns that go together at least so closely hold the same values."""

SAME_ROWS = 0.99
"""Share of rows on which two columns must both be known, or both be missing."""

ALIKE = 0.93
"""Cosine similarity of names and descriptions from which on two columns may be one thing."""

_ROWS = 200_000

_WORDS = {
    "same values": {
        "en": "{kept} and {other} hold the same values: what is proposed of both is tested once, and neither can be "
        'told from the other; set role = "ignore" for one of them under [attributes]',
        "zh": "{kept} 与 {other} 的取值相同:对两者提出的同一假设只检验一次,且两者无法区分;"
        '请在 [attributes] 中将其中之一设为 role = "ignore"',
    },
    "opposite values": {
        "en": "{other} holds the values of {kept} turned round: what is proposed of both is tested once, and neither "
        'can be told from the other; set role = "ignore" for one of them under [attributes]',
        "zh": "{other} 的取值与 {kept} 恰好相反:对两者提出的同一假设只检验一次,且两者无法区分;"
        '请在 [attributes] 中将其中之一设为 role = "ignore"',
    },
    "alike in words": {
        "en": "{kept} and {other} read alike (similarity {statistic:.2f}), but their values differ: both are tested",
        "zh": "{kept} 与 {other} 的名称和说明相近(相似度 {statistic:.2f}),但取值不同:两者都会检验",
    },
}


@dataclass(frozen=True)
class Twins:
    """Two columns that are, or may be, one thing.

    Attributes
    ----------
    kept, other : the first in the study's order, and the one that it stands for.
    why : "values" (the same, or the same turned round) or "words" (names and descriptions alike, values not).
    statistic : correlation of the values, or similarity of the words.
    """

    kept: str
    other: str
    why: Literal["values", "words"]
    statistic: float

    @property
    def same(self) -> bool:
        """Whether the values are the same, so that testing both is testing one thing twice."""
        return self.why == "values"

    @property
    def reversed(self) -> bool:
        """Whether one falls as the other rises."""
        return self.same and self.statistic < 0

    def sentence(self, language: Literal["en", "zh"] = "en") -> str:
        """Say it to the user.

        Examples
        --------
        >>> Twins("items.price", "items.cost", "words", 0.95).sentence()
        'items.price and items.cost read alike (similarity 0.95), but their values differ: both are tested'
        """
        kind = "alike in words" if not self.same else "opposite values" if self.reversed else "same values"
        return _WORDS[kind][language].format(kept=self.kept, other=self.other, statistic=self.statistic)


def find_twins(data: StudyData, *, embed: Embed | None = None) -> tuple[Twins, ...]:
    """Find columns of one table that are the same thing under two names, in the study's order.

    Only attributes that may be tested as causes count. A column that equals an earlier one is the twin of the first.

    Parameters
    ----------
    data : the study.
    embed : embeds names with their descriptions; without it words aren't compared.
    """
    found: list[Twins] = []
    frames = {"users": data.users, "items": data.items, "events": data.events}
    for table, frame in frames.items():
        members = [a for a in data.attributes.values() if a.table == table and a.role == "any"]
        rows = frame
        if len(frame) > _ROWS:
            drawn = np.random.default_rng([data.config.study.seed, 2]).choice(len(frame), _ROWS, replace=False)
            rows = frame.iloc[np.sort(drawn)]
        found += _first_only([*_same_numbers(members, rows), *_same_groups(members, rows)], members)
    if embed is not None:
        found += _same_words(list(data.attributes.values()), embed, {t.other: t.kept for t in found})
    place = {name: i for i, name in enumerate(data.attributes)}
    return tuple(sorted(found, key=lambda t: (place[t.other], place[t.kept])))


def _same_numbers(members: Sequence[Attribute], frame: pd.DataFrame) -> Iterator[Twins]:
    """Numeric and binary columns that are one another's straight line."""
    chosen = [a for a in members if a.kind in ("numeric", "binary")]
    if len(chosen) < 2 or len(frame) < 2:
        return
    raw = np.column_stack([frame[a.column].to_numpy(dtype=np.float64) for a in chosen])
    known = np.isfinite(raw)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, raw, 0.0).sum(axis=0) / counts
    centred = np.where(known, raw - means, 0.0)
    norm = np.sqrt((centred**2).sum(axis=0))
    products = centred.T @ centred
    for i, j in combinations(range(len(chosen)), 2):
        scale = float(norm[i] * norm[j])
        correlation = float(products[i, j]) / scale if scale > 0 else 0.0
        if abs(correlation) >= SAME_CORRELATION and np.mean(known[:, i] == known[:, j]) >= SAME_ROWS:
            yield Twins(chosen[i].name, chosen[j].name, "values", max(-1.0, min(1.0, correlation)))


def _same_groups(members: Sequence[Attribute], frame: pd.DataFrame) -> Iterator[Twins]:
    """Columns of levels that split the rows in the same way, whatever the levels are called."""
    groups: dict[bytes, Attribute] = {}
    for attribute in members:
        if attribute.kind not in ("categorical", "ordinal", "binary"):
            continue
        codes, _ = pd.factorize(frame[attribute.column])
        first = groups.setdefault(codes.astype(np.int32).tobytes(), attribute)
        if first is not attribute and not (first.kind == attribute.kind == "binary"):
            yield Twins(first.name, attribute.name, "values", 1.0)


def _first_only(found: Sequence[Twins], members: Sequence[Attribute]) -> list[Twins]:
    """Of several twins of one column, the first stands for it; who is a twin itself stands for nobody."""
    place = {a.name: i for i, a in enumerate(members)}
    chosen: dict[str, Twins] = {}
    for twins in sorted(found, key=lambda t: (place[t.other], place[t.kept])):
        if twins.kept not in chosen:
            chosen.setdefault(twins.other, twins)
    return list(chosen.values())


def _same_words(members: Sequence[Attribute], embed: Embed, stands_for: Mapping[str, str]) -> Iterator[Twins]:
    chosen = [a for a in members if a.role == "any"]
    if len(chosen) < 2:
        return
    texts = [f"{a.column.replace('_', ' ')}: {a.description}" if a.description else a.column for a in chosen]
    vectors = np.asarray(embed(texts), dtype=np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similar = vectors @ vectors.T
    for i, j in combinations(range(len(chosen)), 2):
        one, other = chosen[i].name, chosen[j].name
        same = stands_for.get(one, one) == stands_for.get(other, other)
        if chosen[i].table == chosen[j].table and similar[i, j] >= ALIKE and not same:
            yield Twins(one, other, "words", float(min(1.0, similar[i, j])))
