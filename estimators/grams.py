"""Linear nuisances of many edges from one Gram matrix a fold: every regression is a block of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from whyrank.estimators.plain import Floats, Plain

__all__ = ["Columns", "Folds", "Regressions", "Standardised", "gram_matrices"]

Columns = npt.NDArray[np.intp]
Folds = npt.NDArray[np.int8]

KEPT_BYTES = 2**28
"""Standardised columns are kept between passes if they fit into this; else they are read again."""

SINGULAR = 1e-10
"""Share of a column's variance below which the columns before it determine it."""


@dataclass
class Standardised:
    """The columns of a table, about a shift and in a scale that suit floating point: a constant first, then they.

    Attributes
    ----------
    plain, columns : the table and the names of the columns.
    dtype : precision of the blocks from the second pass on; the first, which Gram matrices are made in, is in float64.
    shift, scale : of each column; z = (x − shift) / scale. They come from the first chunk and needn't be exact.
    """

    plain: Plain
    columns: tuple[str, ...]
    dtype: npt.DTypeLike = np.float64
    shift: Floats = field(default_factory=lambda: np.zeros(0))
    scale: Floats = field(default_factory=lambda: np.zeros(0))
    _kept: list[Floats] | None = None
    _passed: bool = False

    def blocks(self) -> Iterator[Floats]:
        """Yield blocks of shape (rows, 1 + columns)."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Floats] | None = None if self._passed else []
        bytes_kept = 0
        for raw in self.plain.blocks(self.columns):
            if len(self.shift) == 0:
                spread = raw.std(axis=0)
                self.shift, self.scale = raw.mean(axis=0), np.where(spread > 0, spread, 1.0)
            raw -= self.shift
            raw /= self.scale
            block = np.empty((len(raw), raw.shape[1] + 1), dtype=self.dtype if self._passed else np.float64)
            block[:, 0] = 1
            block[:, 1:] = raw
            bytes_kept += block.size * np.dtype(self.dtype).itemsize
            if bytes_kept > KEPT_BYTES:
                kept = None
            elif kept is not None:
                kept.append(block.astype(self.dtype, copy=False))
            yield block
        self._passed, self._kept = True, kept


def gram_matrices(table: Standardised, folds: Folds | None, count: int) -> Floats:
    """Return the Gram matrix of each fold's rows, shape (folds, 1 + columns, 1 + columns); one fold: of all rows."""
    width = len(table.columns) + 1
    grams, start = np.zeros((count, width, width)), 0
    for block in table.blocks():
        stop = start + len(block)
        if folds is None:
            grams[0] += block.T @ block
        else:
            for k in range(count):
                part = block[folds[start:stop] == k]
                grams[k] += part.T @ part
        start = stop
    return grams


@dataclass(frozen=True)
class Regressions:
    """Regressions of some columns on others, fold by fold.

    Attributes
    ----------
    inputs, targets : positions of the columns; the constant stands first among the inputs.
    coefficients : shape (folds, inputs, targets); with several folds, from the rows of the others.
    products : Σ of residual times residual over all rows, shape (targets, targets), out of fold where there are folds.
    totals : Σ of each residual, shape (targets,).
    """

    inputs: Columns
    targets: Columns
    coefficients: Floats
    products: Floats
    totals: Floats

    @classmethod
    def of(cls, grams: Floats, adjust: Sequence[int], targets: Sequence[int], noise: float = 0.0) -> Regressions:
        """Solve them.

        Parameters
        ----------
        grams : Gram matrices by fold.
        adjust, targets : positions of the adjustment columns and of the columns that are regressed on them.
        noise : standard deviation of noise in the adjustment columns, as a share of each column's own.
        """
        inputs, outputs = np.array([0, *adjust], np.intp), np.array(targets, np.intp)
        every = grams.sum(axis=0)
        ways = (inputs[:, None], inputs), (inputs[:, None], outputs), (outputs[:, None], outputs)
        coefficients = np.empty((len(grams), len(inputs), len(outputs)))
        products, totals = np.zeros((len(outputs), len(outputs))), np.zeros(len(outputs))
        for k, gram in enumerate(grams):
            train = every if len(grams) == 1 else every - gram
            added = np.zeros(len(inputs))
            if noise:
                added[1:] = noise**2 * _squares_about_mean(train)[inputs[1:]]
            b = _solve(train[ways[0]] + np.diag(added), train[ways[1]])
            coefficients[k] = b
            cross, own = gram[ways[1]], gram[ways[0]]
            products += gram[ways[2]] - cross.T @ b - b.T @ cross + b.T @ own @ b
            totals += gram[0, outputs] - own[0] @ b
        return cls(inputs, outputs, coefficients, products, totals)


def _squares_about_mean(gram: Floats) -> Floats:
    """Sums of squares of each column about its mean; the constant is the first column."""
    return np.asarray(np.maximum(np.diagonal(gram) - gram[0] ** 2 / gram[0, 0], 0.0))


def _solve(gram: Floats, moments: Floats) -> Floats:
    """Solve normal equations; where columns determine each other, with the smallest coefficients."""
    size = np.sqrt(np.diagonal(gram))
    size = np.where(size > 0, size, 1.0)
    scaled, right = gram / size[:, None] / size, moments / size[:, None]
    try:
        regular = float(np.min(np.diagonal(np.linalg.cholesky(scaled)))) ** 2 > SINGULAR
    except np.linalg.LinAlgError:
        regular = False
    if regular:
        found = np.linalg.solve(scaled, right)
    else:
        found = np.linalg.pinv(scaled, rcond=SINGULAR, hermitian=True) @ right
    return np.asarray(found / size[:, None])
