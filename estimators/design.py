"""The design matrix of a panel, kept in factors: columns stay at the level of their table, rows point into it.

A million exposures of three hundred items hold three hundred rows of item columns. Predictions are made there and then
taken to the rows, and Gram matrices come from the counts of who met what, so that linear algebra grows with the number
of rows and not with rows times columns (Schleich, Olteanu and Ciucanu 2016, Learning linear regression models over
factorized joins, SIGMOD).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = ["Codes", "Columns", "Design", "Floats", "Matrix", "Part"]

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]
Columns = npt.NDArray[np.intp]

_CHUNK = 65_536
_ROUNDS = 50


@dataclass(frozen=True)
class Part:
    """Columns of one table.

    Attributes
    ----------
    matrix : their values, shape (rows of the table, columns).
    codes : the table's row on each row of the panel, shape (n,); None if they are the same.
    """

    matrix: Matrix
    codes: Codes | None = None

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.matrix.shape[1])

    def at(self, index: npt.NDArray[np.intp] | slice) -> Matrix:
        """Return the columns on some rows of the panel."""
        return np.asarray(self.matrix[index if self.codes is None else self.codes[index]])

    def take(self, mask: npt.NDArray[np.bool_]) -> Part:
        """Return the part of the panel's rows in `mask`."""
        return Part(self.matrix[mask]) if self.codes is None else Part(self.matrix, self.codes[mask])


@dataclass(frozen=True)
class Design:
    """Columns of all parts side by side, `n` rows of them."""

    parts: tuple[Part, ...]
    n: int

    @cached_property
    def starts(self) -> Columns:
        """Position of each part's first column, and the width of the whole at the end."""
        return np.concatenate([[0], np.cumsum([part.width for part in self.parts])]).astype(np.intp)

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.starts[-1])

    def column(self, position: int) -> Matrix:
        """Return one column on every row, shape (n,)."""
        which = int(np.searchsorted(self.starts, position, side="right")) - 1
        part = self.parts[which]
        values = part.matrix[:, position - self.starts[which]]
        return values if part.codes is None else np.asarray(values[part.codes])

    def rows(self, index: npt.NDArray[np.intp], columns: Columns | None = None) -> Matrix:
        """Write out some rows, shape (rows, columns)."""
        wanted = np.arange(self.width) if columns is None else columns
        out = np.empty((len(index), len(wanted)), np.float32)
        for part, start in zip(self.parts, self.starts[:-1], strict=True):
            place = np.flatnonzero((wanted >= start) & (wanted < start + part.width))
            if len(place):
                table = part.matrix[:, wanted[place] - start]
                out[:, place] = table[index if part.codes is None else part.codes[index]]
        return out

    def scores(self, coefficients: Floats, which: npt.NDArray[np.int8]) -> Floats:
        """Return each row's product with one of several coefficient vectors.

        Parameters
        ----------
        coefficients : shape (vectors, width).
        which : the vector used on each row, shape (n,).
        """
        out = np.zeros(self.n)
        for part, start in zip(self.parts, self.starts[:-1], strict=True):
            mine = coefficients[:, start : start + part.width]
            if not mine.any():
                continue
            if part.codes is not None:
                out += (part.matrix @ mine.T)[part.codes, which]
                continue
            for k, vector in enumerate(mine):
                rows = np.flatnonzero(which == k)
                out[rows] += part.matrix[rows] @ vector
        return out

    def score(self, coefficients: Floats) -> Floats:
        """Return each row's product with one coefficient vector, shape (width,)."""
        out = np.zeros(self.n)
        for part, start in zip(self.parts, self.starts[:-1], strict=True):
            mine = coefficients[start : start + part.width]
            if mine.any():
                values = part.matrix @ mine
                out += values if part.codes is None else values[part.codes]
        return out

    def moment(self, target: Floats, rows: npt.NDArray[np.intp]) -> Floats:
        """Return X'target over some rows, the intercept's first; shape (width + 1,)."""
        found = [np.array([target[rows].sum()])]
        for part in self.parts:
            if part.codes is None:
                found.append(part.matrix[rows].T @ target[rows])
            else:
                sums = np.bincount(part.codes[rows], weights=target[rows], minlength=len(part.matrix))
                found.append(part.matrix.T @ sums)
        return np.concatenate(found)

    def gram(self, rows: npt.NDArray[np.intp], weights: Floats | None = None) -> Floats:
        """Return X'WX over some rows, the intercept first; shape (width + 1, width + 1)."""
        w = np.ones(len(rows)) if weights is None else weights[rows]
        out = np.zeros((self.width + 1, self.width + 1))
        out[0, 0] = w.sum()
        whole = np.zeros(self.n)
        whole[rows] = w
        out[0, 1:] = out[1:, 0] = self.moment(whole, rows)[1:]
        places = [slice(1 + s, 1 + s + p.width) for s, p in zip(self.starts[:-1], self.parts, strict=True)]
        for part, place in zip(self.parts, places, strict=True):
            out[place, place] = _within(part, rows, w)
        for a, b in combinations(range(len(self.parts)), 2):
            block = _between(self.parts[a], self.parts[b], rows, w)
            out[places[a], places[b]], out[places[b], places[a]] = block, block.T
        return out

    def means(self, codes: Codes) -> Matrix:
        """Return the mean of every column in each cluster, shape (clusters, width)."""
        groups = int(codes.max(initial=-1)) + 1
        counts = np.maximum(np.bincount(codes, minlength=groups), 1)[:, None]
        found = [np.zeros((groups, 0))]
        for part in self.parts:
            if part.codes is None:
                sums = [np.bincount(codes, weights=part.matrix[:, j], minlength=groups) for j in range(part.width)]
                found.append(np.stack(sums, axis=1) / counts)
            else:
                met = _met(codes, part.codes, np.ones(self.n), (groups, len(part.matrix)))
                found.append(met @ part.matrix.astype(np.float64) / counts)
        return np.hstack(found).astype(np.float32)

    def shared_means(self, a: Codes, b: Codes, means: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        r"""Return what is lasting of columns in two kinds of clusters at once.

        .. math:: x_r = \alpha_{a(r)} + \beta_{b(r)} + e_r, \quad \sum_{r \in g} e_r = 0
                  \text{ in every cluster } g \text{ of either kind}

        A plain mean by item holds what is lasting in the users that met it too. By turns (Gauss and Seidel), each of
        them from what the other leaves, until nothing moves by more than a thousandth of the columns' spread.

        Parameters
        ----------
        a, b : the clusters of each row.
        means : plain means of the columns in each cluster of either kind, shapes (clusters, columns).
        """
        of_a, of_b = means
        met = _met(a, b, np.ones(self.n), (len(of_a), len(of_b)))
        to_a = sparse.diags_array(1 / np.maximum(np.asarray(met.sum(axis=1)).ravel(), 1)) @ met
        to_b = (met @ sparse.diags_array(1 / np.maximum(np.asarray(met.sum(axis=0)).ravel(), 1))).T.tocsr()
        near = 1e-3 * np.maximum(of_a.std(axis=0), 1e-9)
        alpha, beta = of_a, np.zeros_like(of_b)
        for _ in range(_ROUNDS):
            beta = of_b - to_b @ alpha
            before, alpha = alpha, of_a - to_a @ beta
            if (np.abs(alpha - before) <= near).all():
                break
        return alpha, beta

    def take(self, mask: npt.NDArray[np.bool_]) -> Design:
        """Return the rows in `mask`."""
        return Design(tuple(part.take(mask) for part in self.parts), int(mask.sum()))

    def with_parts(self, parts: Sequence[Part]) -> Design:
        """Return the design with more columns at its end."""
        return Design((*self.parts, *parts), self.n)


def _within(part: Part, rows: npt.NDArray[np.intp], w: Floats) -> Floats:
    if part.codes is not None:
        counts = np.bincount(part.codes[rows], weights=w, minlength=len(part.matrix))
        table = part.matrix.astype(np.float64)
        return np.asarray(table.T @ (counts[:, None] * table))
    out = np.zeros((part.width, part.width))
    for start in range(0, len(rows), _CHUNK):
        chunk = part.matrix[rows[start : start + _CHUNK]].astype(np.float64)
        out += chunk.T @ (w[start : start + _CHUNK, None] * chunk)
    return out


def _met(a: Codes, b: Codes, w: Floats, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Return the total weight of the rows on which a row of one table met a row of the other."""
    return sparse.coo_matrix((w, (a, b)), shape=shape).tocsr()


def _between(a: Part, b: Part, rows: npt.NDArray[np.intp], w: Floats) -> Floats:
    if a.codes is not None and b.codes is not None:
        met = _met(a.codes[rows], b.codes[rows], w, (len(a.matrix), len(b.matrix)))
        return np.asarray(a.matrix.T.astype(np.float64) @ (met @ b.matrix.astype(np.float64)))
    wide, table = (a, b) if a.codes is None else (b, a)
    if table.codes is None:
        raise ValueError("columns at the level of the rows belong into one part")
    sums = np.stack(
        [
            np.bincount(table.codes[rows], weights=w * wide.matrix[rows, j], minlength=len(table.matrix))
            for j in range(wide.width)
        ]
    )
    block = sums @ table.matrix.astype(np.float64)
    return np.asarray(block if wide is a else block.T)
