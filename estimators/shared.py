"""Nuisances that edges share: each is fitted once per (target, adjustment columns, folds) of a panel."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from whyrank.estimators.design import Codes, Columns, Floats
from whyrank.estimators.folded import Folded, make_folds
from whyrank.estimators.nuisance import MIN_TREE_CLUSTERS, Nuisance, fit_nuisance
from whyrank.estimators.panel import Panel
from whyrank.estimators.sensitivity import BENCHMARK_ROWS, Benchmarks

__all__ = ["SharedNuisances", "named_rng"]

CURVED = 2.0
"""Ridge penalty of what bends, in clusters; of what doesn't it is a half."""

DETERMINED_ROWS = 5_000
"""Rows on which it is tried whether the adjustment columns determine a cause."""


def named_rng(seed: int, *what: str) -> np.random.Generator:
    """Return the generator of one named draw of a study: it depends on the seed and the name, and on no other draw."""
    return np.random.default_rng([seed, zlib.crc32(" ".join(what).encode())])


@dataclass
class SharedNuisances:
    """Fits on demand and remembers the outcome models of one panel.

    Attributes
    ----------
    panel : the rows.
    seed : every draw is derived from it and from the name of what is fitted, so that an edge's numbers don't depend on
        which edges were judged before it.
    n_folds : folds of the cross-fitting.
    """

    panel: Panel
    seed: int
    n_folds: int = 5
    _folded: dict[str, Folded] = field(default_factory=dict)
    _outcomes: dict[tuple[str, bytes], Nuisance] = field(default_factory=dict)
    _benchmarks: dict[tuple[str, ...], Benchmarks] = field(default_factory=dict)

    @cached_property
    def drawn(self) -> SharedNuisances:
        """The nuisances of the rows whose item was drawn at random."""
        if self.panel.randomised is None:
            raise ValueError("no row of this panel was drawn at random")
        return SharedNuisances(self.panel.take(self.panel.randomised), self.seed, self.n_folds)

    def rng(self, *what: str) -> np.random.Generator:
        """Return the generator that belongs to one named draw."""
        return named_rng(self.seed, *what)

    def draw(self, *what: str) -> int:
        """Return the seed that belongs to one named draw."""
        return int(self.rng(*what).integers(2**31))

    def columns(self, names: tuple[str, ...]) -> Columns:
        """Return the design columns of the named attributes."""
        found = [self.panel.blocks[name].every for name in names if name in self.panel.blocks]
        found.extend(columns for (a, b), columns in self.panel.products.items() if a in names and b in names)
        return np.concatenate(found) if found else np.zeros(0, np.intp)

    def adjustment(self, names: tuple[str, ...], cause: str, level: str) -> Columns:
        """Return the design columns adjusted for, in order.

        They are those of the named attributes, of a set its other values, and the cause's means in each item and user
        that it varies within.
        """
        block = self.panel.blocks[cause]
        parts = [self.columns(names)]
        if block.attribute.kind == "set":
            others = [c for c, name in zip(block.columns, block.levels, strict=True) if name not in (level, "missing?")]
            parts.append(np.array(others, np.intp))
        if self.identities(cause):
            parts.append(self.panel.means[cause])
        parts.extend(self.panel.within[many][cause] for many in self._many(names, cause))
        return np.sort(np.concatenate(parts))

    def _many(self, names: tuple[str, ...], cause: str) -> list[str]:
        """Return the named attributes of many levels in each of which a cause is compared.

        Where it is compared within each user or item, it is within each level of what is theirs.
        """
        same = self.identities(cause)
        return [n for n in names if n in self.panel.within and n != cause and n.split(".", 1)[0] not in same]

    def alike(self, names: tuple[str, ...], cause: str) -> Columns:
        """Return the means of all named attributes of the cause's table, so that its causes share an outcome model."""
        table = cause.split(".", 1)[0]
        wanted = (cause, *(name for name in names if name.startswith(f"{table}.")))
        found = [self.panel.within[many][n] for many in self._many(names, cause) for n in wanted if n != many]
        if self.identities(cause):
            found += [self.panel.means[name] for name in wanted if name in self.panel.means]
        return np.concatenate(found) if found else np.zeros(0, np.intp)

    def determined(self, cause: str, values: Floats, columns: Columns) -> bool:
        """Whether the adjustment columns of the cause's own table fix its values exactly, as a linear combination.

        A penalised regression never fits exactly, so what it leaves over would pass for free variation.

        Parameters
        ----------
        cause, values : the cause and its value in each row, shape (n,); NaN where the row doesn't count.
        columns : the design columns adjusted for.
        """
        kind, codes = self.assigned(cause)
        rows = np.flatnonzero(np.isfinite(values))
        rows = rows[np.unique(codes[rows], return_index=True)[1]]
        rows = rows[:: len(rows) // DETERMINED_ROWS + 1]
        same = [block.columns for name, block in self.panel.blocks.items() if kind in ("rows", name.split(".", 1)[0])]
        X = self.panel.design.rows(rows, np.intersect1d(columns, np.concatenate(same))).astype(np.float64)
        if len(rows) <= X.shape[1] + 1:
            return False
        t = values[rows] - values[rows].mean()
        X = X - X.mean(axis=0)
        left = t - X @ np.linalg.lstsq(X, t, rcond=1e-6)[0]
        return bool(t @ t > 0 and left @ left <= 1e-6 * (t @ t))

    def assigned(self, cause: str) -> tuple[str, Codes]:
        """Return the clusters in which a cause varies."""
        return self.panel.cluster_of(cause)

    def folded(self, cause: str) -> Folded:
        """Return the rows in folds made of whole clusters of the table in which the cause varies."""
        kind, codes = self.assigned(cause)
        if kind not in self._folded:
            folds = make_folds(codes, self.n_folds, self.rng("folds", kind))
            self._outcomes.clear()
            self._folded.clear()  # causes come table by table: what the last one needed is given back
            self._folded[kind] = Folded(
                self.panel.design, folds, self.draw("sample", kind), self._bent, self.weights(cause)
            )
        return self._folded[kind]

    @property
    def _bent(self) -> Columns:
        """Positions of the attributes' own columns."""
        found = [block.columns for block in self.panel.blocks.values()]
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.intp)

    @property
    def _curves(self) -> Columns:
        """Positions of what bends: squares and hinges of numeric attributes, and products of two."""
        found = [*(block.curved for block in self.panel.blocks.values()), *self.panel.products.values()]
        return np.concatenate(found) if found else np.zeros(0, np.intp)

    def weights(self, cause: str) -> Floats | None:
        """Return the weight of each row in all fits for a cause: those of a known design apply to what is an item's."""
        return self.panel.weight if self.assigned(cause)[0] == "items" else None

    def identities(self, cause: str) -> tuple[str, ...]:
        """Return the tables in each of whose rows a cause is compared: those that it varies within.

        Where the item was drawn at random, or rows are weighted as if it had been, users can't have confounded what is
        an item's: nothing need be taken out. Where what users are shown follows from what they did before, a comparison
        within users would hold fixed what they were shown later, which follows from the outcome; there the columns of
        their past stand for them.
        """
        kind, _ = self.assigned(cause)
        if self.panel.user is None or self.panel.item is None:
            return ()
        drawn = self.panel.randomised is not None and self.panel.randomised.all()
        weighted = self.panel.weighting is not None and self.panel.weighting.design
        if kind == "items" and (drawn or weighted):
            return ()
        past = ("users",) if self.panel.follows_past else ()
        return tuple(table for table in ("items", "users") if table not in (kind, *past))

    def intercepts(self, cause: str) -> tuple[Codes, ...]:
        """Return the cluster codes of those identities."""
        codes = {"items": self.panel.item, "users": self.panel.user}
        return tuple(found for table in self.identities(cause) if (found := codes[table]) is not None)

    def _levels(self, cause: str, columns: Columns) -> tuple[Codes, ...]:
        """Return the levels of attributes with too many of them for a column each, where they are adjusted for."""
        inside = {many: places.get(cause) for many, places in self.panel.within.items()}
        return tuple(self.panel.many[n] for n, own in inside.items() if own is not None and np.isin(own, columns).all())

    def benchmarks(self, cause: str) -> Benchmarks:
        """Return the strengths of the panel's columns, compared within what the cause is compared within."""
        same = self.identities(cause)
        if same not in self._benchmarks:
            n = self.panel.n
            rows = np.arange(n)
            if n > BENCHMARK_ROWS:
                rows = np.sort(self.rng("benchmarks").choice(n, BENCHMARK_ROWS, replace=False))
            codes = tuple(codes[rows] for codes in self.intercepts(cause))
            self._benchmarks[same] = Benchmarks.of(self.panel.design.rows(rows), self.panel.y[rows], codes)
        return self._benchmarks[same]

    def penalty(self, columns: Columns) -> Floats:
        """Return the ridge penalty of each column: half a cluster of its table (what bends: two); of means, 1 row."""
        out = np.ones(self.panel.design.width)
        for name, block in self.panel.blocks.items():
            _, codes = self.panel.cluster_of(name)
            cluster = self.panel.n / (int(codes.max()) + 1)
            out[block.columns], out[block.curved] = 0.5 * cluster, CURVED * cluster
        for (name, _), places in self.panel.products.items():
            _, codes = self.panel.cluster_of(name)
            out[places] = CURVED * self.panel.n / (int(codes.max()) + 1)
        return out[columns]

    def many(self, cause: str) -> bool:
        """Whether a cause varies in enough clusters for trees to learn from."""
        _, codes = self.assigned(cause)
        return int(codes.max()) + 1 >= MIN_TREE_CLUSTERS

    def outcome(self, cause: str, columns: Columns, *, with_cause: bool = True, lines: bool = False) -> Nuisance:
        """Return E[Y | those columns], with the folds that suit the cause; shared by all causes of a table.

        Without the cause among the columns it is regressed with the same learners as the cause, and without shrunken
        intercepts: what follows the cause through other columns or rows in one of the two, and not as much in the
        other, would take part of the effect away. With `lines` it is a linear regression alone.
        """
        kind, _ = self.assigned(cause)
        key = (f"{kind} {with_cause} {lines}", columns.tobytes())
        if key not in self._outcomes:
            self._outcomes[key] = fit_nuisance(
                self.panel.y,
                self.folded(cause),
                columns,
                penalty=self.penalty(columns),
                intercepts=(*self.intercepts(cause), *self._levels(cause, columns)) if with_cause else (),
                trees=(with_cause or self.many(cause)) and self.panel.n >= 1_000 and not lines,
                maybe=self._curves,
                seed=self.draw("outcome", kind),
            )
        return self._outcomes[key]

    def treatment(self, cause: str, target: Floats, columns: Columns, *, probability: bool, name: str) -> Nuisance:
        """Return E[T | those columns]; trees only where the cause varies in enough clusters."""
        return fit_nuisance(
            target,
            self.folded(cause),
            columns,
            penalty=self.penalty(columns),
            intercepts=(*self.intercepts(cause), *self._levels(cause, columns)) if probability else (),
            probability=probability,
            trees=self.many(cause) and self.panel.n >= 1_000,
            maybe=self._curves,
            seed=self.draw("treatment", cause, name),
        )
