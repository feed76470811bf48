"""The table one edge is judged on, in columns: outcome, clusters, and every attribute encoded once.

A panel is shared by all edges with the same outcome and grain. Attributes live at the level of their table and are
taken to the rows by position, so that a million exposures of three hundred items encode three hundred rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.edge import Edge, Grain
from whyrank.errors import InputError
from whyrank.estimators.design import Codes, Columns, Design, Floats, Part
from whyrank.estimators.encode import Encoded, encode, products
from whyrank.estimators.tails import HEAVY_SHARE, TOP, top_share, winsorised
from whyrank.estimators.weighting import Weighting, logged_weights
from whyrank.estimators.words import say

__all__ = ["Block", "Codes", "Columns", "Floats", "Panel", "build_panel", "grain_of"]

MAX_MATCHES = 12
"""Products of a user's with an item's attribute: up to so many."""

MAX_MATCHED = 2**22
"""Numbers that they may take; on larger logs trees find them."""

MAX_DISTINCT = 1_000
"""Distinct values of a context attribute up to which it is kept as a table of its values."""


def grain_of(edge: Edge) -> Grain:
    """Return the grain an edge is judged at: users.Y totals at the user, attribute on attribute at its table."""
    if edge.effect.startswith("events."):
        return "exposure"
    return "user" if edge.effect.startswith("users.") else "item"


@dataclass(frozen=True)
class Block:
    """One attribute's columns in the design matrix.

    Attributes
    ----------
    attribute : what they encode.
    columns : positions in the design matrix.
    levels : the level each 0/1 column stands for ("" for a numeric column); the last column may be the indicator of
        a missing value.
    pooled : levels too rare to stand alone, encoded together.
    curved : positions of what else a numeric attribute is adjusted for with: its square and hinges.
    """

    attribute: Attribute
    columns: Columns
    levels: tuple[str, ...]
    pooled: tuple[str, ...] = ()
    curved: Columns = field(default_factory=lambda: np.zeros(0, np.intp))

    @property
    def every(self) -> Columns:
        """All columns that adjust for the attribute."""
        return np.concatenate([self.columns, self.curved])


@dataclass(frozen=True)
class Panel:
    """Outcome, clusters and design of one (outcome, grain).

    Attributes
    ----------
    grain, outcome, scale : what is judged.
    y : outcome, shape (n,).
    user, item : cluster codes, shape (n,), or None at the other table's grain.
    design : encoded attributes, in factors.
    blocks : attribute name to its columns, in the study's order.
    raw : each attribute's values at the level of its table, in its own units, or codes of its levels; and the table's
        row on each row of the panel (None: the same). See `values`.
    products : two attributes of a table to the design columns that hold their products.
    means : attribute name to the design columns that hold its mean in each item and user that it varies within.
    many : attributes with levels too rare for a column: the level on each row, all levels kept, shape (n,).
    within : for each of those, attribute name to the design columns that hold its mean in each of the levels.
    randomised : mask of rows whose item was drawn at random, or None.
    weighting : weights of the rows for causes that are an item's, if the log says how items were chosen; or None.
    follows_past : whether what users were shown may follow from what they did before, and that is among the columns.
    warnings : what was done to the columns.
    """

    grain: Grain
    outcome: str
    scale: str
    y: Floats
    user: Codes | None
    item: Codes | None
    design: Design
    blocks: dict[str, Block]
    raw: dict[str, tuple[Floats, Codes | None]] = field(repr=False)
    products: dict[tuple[str, str], Columns] = field(default_factory=dict)
    means: dict[str, Columns] = field(default_factory=dict)
    many: dict[str, Codes] = field(default_factory=dict, repr=False)
    within: dict[str, dict[str, Columns]] = field(default_factory=dict)
    randomised: npt.NDArray[np.bool_] | None = None
    weighting: Weighting | None = None
    follows_past: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)

    @cached_property
    def pair(self) -> Codes:
        """Codes of (user, item) pairs, for the intersection in two-way clustering."""
        if self.user is None or self.item is None:
            return np.arange(self.n, dtype=np.int32)
        width = int(self.item.max()) + 1
        codes: Codes = pd.factorize(self.user.astype(np.int64) * width + self.item)[0].astype(np.int32)
        return codes

    @property
    def weight(self) -> Floats | None:
        """Weight of each row for causes that are an item's, mean 1, shape (n,); or None."""
        return None if self.weighting is None else self.weighting.weight

    def values(self, name: str) -> Floats:
        """Return an attribute's value on every row, shape (n,): in its own units, or the code of its level."""
        table, codes = self.raw[name]
        return table if codes is None else np.asarray(table[codes])

    def cluster_of(self, name: str) -> tuple[str, Codes]:
        """Return the kind and the codes of the clusters to which an attribute is assigned."""
        table = name.split(".", 1)[0]
        if table == "users" and self.user is not None:
            return "users", self.user
        if table == "items" and self.item is not None:
            return "items", self.item
        return "rows", self.pair

    def take(self, mask: npt.NDArray[np.bool_]) -> Panel:
        """Return the panel of the rows in `mask`; means are those of its own rows."""
        own = len(self.design.parts) - (2 if self.means else 0) - len(self.within)
        return _with_means(
            replace(
                self,
                y=self.y[mask],
                user=None if self.user is None else self.user[mask],
                item=None if self.item is None else self.item[mask],
                design=Design(self.design.parts[:own], self.n).take(mask),
                raw={
                    name: (table[mask], None) if codes is None else (table, codes[mask])
                    for name, (table, codes) in self.raw.items()
                },
                means={},
                many={name: codes[mask] for name, codes in self.many.items()},
                within={},
                randomised=None if self.randomised is None else self.randomised[mask],
                weighting=None,
            )
        )


def build_panel(data: StudyData, outcome: str, grain: Grain) -> Panel:
    """Build the panel of one outcome at one grain.

    Raises
    ------
    InputError
        If the outcome isn't known at that grain.
    """
    warnings: list[str] = []
    if grain == "exposure":
        y, scale, keep = _event_outcome(data, outcome)
        user: Codes | None = data.events["user"].to_numpy(np.int32)[keep]
        item: Codes | None = data.events["item"].to_numpy(np.int32)[keep]
        rows: dict[str, Codes | None] = {"users": user, "items": item, "events": None}
        y = y[keep]
        randomised = data.events["randomised"].to_numpy(np.float64)[keep] > 0 if "randomised" in data.events else None
    else:
        y, scale, keep = _table_outcome(data, outcome)
        index = np.flatnonzero(keep).astype(np.int32)
        y = y[keep]
        user = index if grain == "user" else None
        item = index if grain == "item" else None
        rows = {f"{grain}s": index}
        randomised = None
    if scale == "mean" and len(y):
        y, said = _tails(data, y)
        warnings.extend(said)
    names = [name for name, a in data.attributes.items() if a.table in rows and a.role != "ignore" and name != outcome]
    parts: list[Part] = []
    blocks: dict[str, Block] = {}
    raw: dict[str, tuple[Floats, Codes | None]] = {}
    together: dict[tuple[str, str], Columns] = {}
    start = 0
    for codes, members in _tables(data, names, rows, keep):
        matrices: list[npt.NDArray[np.float32]] = []
        for name, found in members:
            width, curved = found.matrix.shape[1], found.curved.shape[1]
            if width == 0:
                continue
            if found.pooled:
                warnings.append(say(data.config.study.language, "pooled", count=len(found.pooled), name=name))
            raw[name] = found.values, codes
            columns, bent = np.arange(start, start + width), np.arange(start + width, start + width + curved)
            blocks[name] = Block(data.attributes[name], columns, found.levels, found.pooled, bent)
            matrices.extend([found.matrix, found.curved] if curved else [found.matrix])
            start += width + curved
        for a, b, found_there in products(members, len(y) if codes is None else len(np.unique(codes))):
            together[a, b] = np.arange(start, start + found_there.shape[1])
            matrices.append(found_there)
            start += found_there.shape[1]
        if codes is None and grain == "exposure":
            for a, b, met in _matches(blocks, parts, raw, len(y)):
                together[a, b] = np.arange(start, start + 1)
                matrices.append(met)
                start += 1
        if matrices:
            parts.append(Part(np.hstack(matrices), codes))
    return _with_means(
        Panel(
            grain,
            outcome,
            scale,
            y,
            user,
            item,
            Design(tuple(parts), len(y)),
            {name: blocks[name] for name in names if name in blocks},
            raw,
            products=together,
            many={
                name: _every_level(data, name, rows, keep)
                for name in names
                if name in blocks and blocks[name].pooled and data.attributes[name].kind != "set"
            },
            randomised=randomised,
            weighting=_weighting(data, keep) if grain == "exposure" else None,
            follows_past=grain == "exposure" and bool(data.config.events.history),
            warnings=tuple(warnings),
        )
    )


def _matches(
    blocks: dict[str, Block], parts: Sequence[Part], raw: dict[str, tuple[Floats, Codes | None]], n: int
) -> Iterator[tuple[str, str, npt.NDArray[np.float32]]]:
    """Yield products of a user's and an item's numeric attributes, if they are few: a log shows to each what suits."""
    curved = {name: block for name, block in blocks.items() if len(block.curved)}
    pairs = [(a, b) for a in curved for b in curved if a.startswith("users.") and b.startswith("items.")]
    if len(pairs) > MAX_MATCHES or n * len(pairs) > MAX_MATCHED:
        return
    design = Design(tuple(parts), n)
    for a, b in pairs:
        met = design.column(int(curved[a].columns[0])) * design.column(int(curved[b].columns[0]))
        yield a, b, ((met - met.mean()) / max(float(met.std()), 1e-6)).astype(np.float32)[:, None]


def _tails(data: StudyData, y: Floats) -> tuple[Floats, list[str]]:
    """Return a numeric outcome, winsorised if the study asks for it, and what is to be said of its tails."""
    language, quantile = data.config.study.language, data.config.validation.winsorise
    said = []
    y, cut = winsorised(y, quantile)
    if cut:
        said.append(say(language, "winsorised", count=cut, quantile=quantile))
    share = top_share(y)
    if share > HEAVY_SHARE:
        said.append(say(language, "heavy tail", top=TOP, share=share))
    return y, said


def _weighting(data: StudyData, keep: npt.NDArray[np.bool_]) -> Weighting | None:
    """Return the weights that logged propensities make; estimated ones are no design."""
    if "propensity" not in data.events or data.config.events.propensity_kind != "logged":
        return None
    propensity = data.events["propensity"].to_numpy(np.float64)[keep]
    return logged_weights(propensity, data.events["item"].to_numpy(np.int32)[keep])


def _tables(
    data: StudyData, names: Sequence[str], rows: dict[str, Codes | None], keep: npt.NDArray[np.bool_]
) -> Iterator[tuple[Codes | None, list[tuple[str, Encoded]]]]:
    """Encode attributes table by table: users, items, each context attribute of few values, and the other context."""
    for table in ("users", "items"):
        here = [name for name in names if name.startswith(f"{table}.")]
        frame = getattr(data, table)
        yield rows.get(table), [(n, encode(data.attributes[n], frame[data.attributes[n].column])) for n in here]
    wide: list[tuple[str, Encoded]] = []
    for name in names:
        if not name.startswith("events."):
            continue
        attribute, column = data.attributes[name], data.events[data.attributes[name].column][keep]
        codes, distinct = pd.factorize(column, use_na_sentinel=False)
        if len(distinct) > MAX_DISTINCT:
            wide.append((name, encode(attribute, column)))
            continue
        counts = np.bincount(codes, minlength=len(distinct)).astype(np.float64)
        yield codes.astype(np.int32), [(name, encode(attribute, pd.Series(distinct), counts))]
    yield None, wide


def _every_level(data: StudyData, name: str, rows: dict[str, Codes | None], keep: npt.NDArray[np.bool_]) -> Codes:
    """Return the level of an attribute on each row of a panel, the rare ones too; a missing value is one of its own."""
    attribute = data.attributes[name]
    column = getattr(data, attribute.table)[attribute.column]
    if attribute.table == "events":
        column = column[keep]
    codes = pd.factorize(column, use_na_sentinel=False)[0].astype(np.int32)
    where = rows[attribute.table]
    return codes if where is None else np.asarray(codes[where], np.int32)


def _with_means(panel: Panel) -> Panel:
    """Add the mean of each attribute in every item and user that it varies within (Mundlak 1978).

    With the mean of a cause among the columns adjusted for, a comparison is one within items and users: what is lasting
    in either, measured or not, no longer confounds it. What varies within both is taken apart into what is lasting in
    either, since an item's plain mean would hold something of the users that met it (Wooldridge 2021). The same is done
    for the levels of an attribute that has too many of them for a column each.

    References
    ----------
    Mundlak (1978), On the pooling of time series and cross section data, Econometrica 46.
    Wooldridge (2021), Two-way fixed effects, the two-way Mundlak regression, and difference-in-differences estimators.
    """
    panel = _with_level_means(panel)
    if panel.user is None or panel.item is None:
        return panel
    means: dict[str, list[Columns]] = {name: [] for name in panel.blocks}
    parts, start = [], panel.design.width
    for table, codes in (("items", panel.item), ("users", panel.user)):
        wanted = [name for name in panel.blocks if not name.startswith(f"{table}.")]
        part, places = _means(panel, codes, wanted, start)
        for name, columns in places.items():
            means[name].append(columns)
        parts.append(part)
        start += part.width
    parts = _taken_apart(panel, parts, means)
    joined = {name: np.concatenate(columns) for name, columns in means.items() if columns}
    return replace(panel, design=panel.design.with_parts(parts), means=joined)


def _taken_apart(panel: Panel, parts: list[Part], means: dict[str, list[Columns]]) -> list[Part]:
    """Return the means by item and by user with those of the exposure's own attributes taken apart."""
    own = [name for name in panel.blocks if name.startswith("events.")]
    if not own or panel.item is None or panel.user is None:
        return parts
    starts = (panel.design.width, panel.design.width + parts[0].width)
    places = [np.concatenate([means[name][k] for name in own]) - start for k, start in enumerate(starts)]
    plain = [part.matrix[:, at].astype(np.float64) for part, at in zip(parts, places, strict=True)]
    lasting = panel.design.shared_means(panel.item, panel.user, (plain[0], plain[1]))
    out = []
    for part, at, found in zip(parts, places, lasting, strict=True):
        matrix = part.matrix.copy()
        matrix[:, at] = found
        out.append(replace(part, matrix=matrix))
    return out


def _with_level_means(panel: Panel) -> Panel:
    parts, within, start = [], {}, panel.design.width
    for many, codes in panel.many.items():
        part, within[many] = _means(panel, codes, [name for name in panel.blocks if name != many], start)
        parts.append(part)
        start += part.width
    return replace(panel, design=panel.design.with_parts(parts), within=within)


def _means(panel: Panel, codes: Codes, names: Sequence[str], start: int) -> tuple[Part, dict[str, Columns]]:
    """Return the means of attributes in each cluster, and where they stand if the first column is at `start`."""
    columns = [panel.blocks[name].columns for name in names]
    ends = start + np.cumsum([0, *map(len, columns)])
    places = {name: np.arange(a, b) for name, (a, b) in zip(names, pairwise(ends), strict=True)}
    found = panel.design.means(codes)
    taken = [found[:, own] for own in columns]
    return Part(np.hstack(taken) if taken else np.zeros((len(found), 0), np.float32), codes), places


def _event_outcome(data: StudyData, outcome: str) -> tuple[Floats, str, npt.NDArray[np.bool_]]:
    """Return an outcome, or a context attribute as one."""
    if outcome in data.outcomes:
        scale: str = data.outcomes[outcome].scale
    elif outcome in data.attributes and data.attributes[outcome].kind in ("numeric", "binary"):
        scale = "probability" if data.attributes[outcome].kind == "binary" else "mean"
    else:
        raise InputError(f"{outcome!r} is not an outcome of this study (outcomes: {', '.join(data.outcomes)})")
    y = np.asarray(data.events[outcome.split(".", 1)[1]].to_numpy(np.float64), np.float64)
    return y, scale, np.isfinite(y)


def _table_outcome(data: StudyData, outcome: str) -> tuple[Floats, str, npt.NDArray[np.bool_]]:
    """Return an attribute as an outcome, or a user's or an item's total of an event outcome over the log."""
    table, column = outcome.split(".", 1)
    frame = data.users if table == "users" else data.items
    if outcome in data.attributes:
        attribute = data.attributes[outcome]
        if attribute.kind not in ("numeric", "binary"):
            raise InputError(f"{outcome!r} is {attribute.kind}: only numeric and binary attributes can be an effect")
        values = frame[column].to_numpy(np.float64)
        return values, "probability" if attribute.kind == "binary" else "mean", np.isfinite(values)
    if f"events.{column}" in data.outcomes and table == "users":
        y = np.nan_to_num(data.events[column].to_numpy(np.float64))
        totals = np.bincount(data.events["user"].to_numpy(), weights=y, minlength=len(data.users))
        return totals.astype(np.float64), "mean", np.ones(len(totals), bool)
    raise InputError(f"{outcome!r} is neither an attribute nor the total of an outcome of this study")
