"""Sums of squared scores of many edges, by rows and by clusters, in one pass over residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from whyrank.estimators.grams import Columns
from whyrank.estimators.plain import Codes, Floats

__all__ = ["Group", "Scores", "Way", "adder", "pair_way"]


@dataclass(frozen=True)
class Way:
    """One way in which rows belong together.

    Attributes
    ----------
    codes : cluster of each row, shape (n,); −1 for a row that is a cluster by itself.
    summed : number of clusters with a code.
    clusters : number of clusters.
    """

    codes: Codes
    summed: int
    clusters: int

    @classmethod
    def of(cls, codes: Codes) -> Way:
        """Every code a cluster."""
        count = int(codes.max()) + 1
        return cls(codes, count, count)


def pair_way(first: Way, second: Way) -> Way:
    """Return the clusters of rows that agree in both; only those of several rows get a code, to spare memory."""
    key = first.codes.astype(np.int64) * second.summed + second.codes
    names, codes, counts = np.unique(key, return_inverse=True, return_counts=True)
    several = counts > 1
    short = np.where(several, np.cumsum(several) - 1, -1).astype(np.int32)
    return Way(short[codes.ravel()], int(several.sum()), len(names))


@dataclass(frozen=True)
class Group:
    """Edges whose residuals come from one matrix product.

    Attributes
    ----------
    cause, outcome : of each edge, the position among the residual columns, shape (edges,).
    inputs : columns of a block that the regressions read.
    targets : the column of a block that each residual column belongs to.
    coefficients : shape (folds, inputs, residual columns).
    grid : whether the edges are all pairs of few causes and outcomes; then products are taken by matrix.
    """

    cause: Columns
    outcome: Columns
    inputs: Columns
    targets: Columns
    coefficients: Floats
    grid: bool

    def residuals(self, block: Floats, folds: npt.NDArray[np.int8] | None) -> Floats:
        """Return what the regressions leave of some rows, shape (rows, residual columns)."""
        left = np.take(block, self.targets, axis=1)  # by rows in memory, which block[:, targets] isn't
        if not len(self.inputs):
            return left
        given = np.take(block, self.inputs, axis=1)
        if folds is None:
            left -= given @ self.coefficients[0].astype(block.dtype, copy=False)
            return left
        for k, b in enumerate(self.coefficients):
            rows = folds == k
            left[rows] -= given[rows] @ b.astype(block.dtype, copy=False)
        return left


def adder(codes: Codes, dtype: npt.DTypeLike) -> tuple[Codes, Any]:
    """Return the clusters of some rows, and the sparse matrix that adds those rows up by them."""
    names, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rows, ends = np.argsort(place.ravel(), kind="stable"), np.concatenate([[0], np.cumsum(counts)])
    return names, scipy.sparse.csr_matrix((np.ones(len(codes), dtype), rows, ends), (len(names), len(codes)))


class Scores:
    """Collects, block by block, what the sums of squared scores t̃ (ỹ − θ t̃) need, without knowing θ.

    Parameters
    ----------
    group : the edges.
    ways : how rows are clustered; sums are kept for each cluster and edge.

    Attributes
    ----------
    causes, outcomes : residual columns that are worked on: each once on a grid, else one an edge.
    """

    def __init__(self, group: Group, ways: Sequence[Way] = ()) -> None:
        self.group, self.ways = group, tuple(ways)
        self.causes, self.outcomes = group.cause, group.outcome
        self._shapes: tuple[tuple[int, ...], tuple[int, ...]] = (len(group.cause),), (len(group.cause),)
        if group.grid:
            self.causes, self._to_cause = np.unique(group.cause, return_inverse=True)
            self.outcomes, self._to_outcome = np.unique(group.outcome, return_inverse=True)
            self._shapes = (len(self.causes), len(self.outcomes)), (len(self.causes),)
        self._rows = self._empty()
        self._alone = [self._empty() for _ in self.ways]
        self._sums = [
            (np.zeros((way.summed, *self._shapes[0])), np.zeros((way.summed, *self._shapes[1]))) for way in self.ways
        ]

    def add(self, residuals: Floats, start: int) -> None:
        """Take some rows' residuals in; `start` is the position of the first."""
        t, y = np.take(residuals, self.causes, axis=1), np.take(residuals, self.outcomes, axis=1)
        self._collect(self._rows, t, y)
        for way, alone, sums in zip(self.ways, self._alone, self._sums, strict=True):
            codes = way.codes[start : start + len(t)]
            single = codes < 0
            if single.all():
                self._collect(alone, t, y)
                continue
            if single.any():
                self._collect(alone, t[single], y[single])
                self._add_up(sums, t[~single], y[~single], codes[~single])
            else:
                self._add_up(sums, t, y, codes)

    def by_rows(self, estimate: Floats) -> Floats:
        """Sum of squared scores of the rows, an element an edge."""
        return self._squared(self._rows, estimate)

    def by_clusters(self, which: int, estimate: Floats) -> Floats:
        """Sum over the clusters of one way of their squared sums of scores."""
        out = self._squared(self._alone[which], estimate)
        ty, tt = self._sums[which]
        for i in range(0, len(ty), 4096):
            each = self.of_edges(ty[i : i + 4096]) - estimate * self.of_edges(tt[i : i + 4096])
            out += np.einsum("ge,ge->e", each, each)
        return out

    def _empty(self) -> list[Floats]:
        return [np.zeros(self._shapes[0]), np.zeros(self._shapes[0]), np.zeros(self._shapes[1])]

    def _collect(self, into: list[Floats], t: Floats, y: Floats) -> None:
        t2 = t * t
        if self.group.grid:
            into[0] += t2.T @ (y * y)
            into[1] += (t2 * t).T @ y
        else:
            into[0] += np.einsum("re,re,re->e", t2, y, y)
            into[1] += np.einsum("re,re,re->e", t2, t, y)
        into[2] += np.einsum("re,re->e", t2, t2)

    def _squared(self, moments: list[Floats], estimate: Floats) -> Floats:
        t2y2, t3y, t4 = (self.of_edges(m) for m in moments)
        return np.maximum(t2y2 - 2 * estimate * t3y + estimate**2 * t4, 0.0)

    def of_edges(self, values: Floats) -> Floats:
        """Give each edge its element of shape (…, causes, outcomes) or (…, causes); without a grid (…, edges)."""
        if not self.group.grid:
            return values
        if values.shape[-2:] == self._shapes[0]:
            return values[..., self._to_cause, self._to_outcome]
        return values[..., self._to_cause]

    def _add_up(self, sums: tuple[Floats, Floats], t: Floats, y: Floats, codes: Codes) -> None:
        names, pick = adder(codes, t.dtype)
        ty = (t[:, :, None] * y[:, None, :]).reshape(len(t), -1) if self.group.grid else t * y
        sums[0][names] += (pick @ ty).reshape(len(names), *self._shapes[0])
        sums[1][names] += pick @ (t * t)
