"""A design dealt into folds, with what every nuisance on it needs: Gram matrices, and rows written out for learners."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import lightgbm
import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from whyrank.estimators.design import Codes, Columns, Design, Floats, Matrix

__all__ = ["TREES", "Folded", "each_fold", "make_folds", "one_thread"]

SAMPLE_ROWS = 40_000
"""Rows that logistic regressions and trees are fitted on: a fixed sample, so that cost stops growing with the log."""

_WHOLE = 2**26
"""Numbers up to which what trees see is kept written out; more is written out in chunks each time."""

_CHUNK = 65_536

TREES: dict[str, object] = {
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
}

T = TypeVar("T")


def make_folds(codes: Codes, n_folds: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Deal whole clusters into folds of about equal numbers of clusters; returns the fold of each row, shape (n,).

    A single cluster can't be dealt out: then its rows are.
    """
    if codes.min() == codes.max():
        codes = np.arange(len(codes), dtype=np.int32)
    groups = int(codes.max()) + 1
    deal = np.arange(groups) % n_folds
    return rng.permutation(deal).astype(np.int8)[codes]


@lru_cache(maxsize=1)
def _pools() -> ThreadpoolController:
    """Return the thread pools of the libraries at work; looking for them takes milliseconds, so it is done once."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Hold BLAS and OpenMP to one thread for a while."""
    limit: AbstractContextManager[object] = _pools().limit(limits=1)
    return limit


def each_fold(work: Callable[[int], T], count: int) -> list[T]:
    """Run one piece of work a fold, each on one thread.

    Threads inside BLAS and OpenMP spin while they wait: on busy cores two of them are many times slower than one, and
    sums depend on how many there are. So they are held to one, and whole folds run side by side.
    """
    with one_thread(), ThreadPoolExecutor(max_workers=min(count, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, range(count)))


@dataclass(frozen=True)
class Folded:
    """A design and the fold of each of its rows.

    Attributes
    ----------
    design : the columns.
    folds : fold of each row, shape (n,).
    seed : of the sample.
    bent : positions of the columns that trees see: they need no curves of a column, and cluster means are for lines.
    weights : weight of each row in every fit, mean about 1; None: all alike.
    """

    design: Design
    folds: npt.NDArray[np.int8]
    seed: int
    bent: Columns
    weights: Floats | None = None

    @cached_property
    def count(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    @cached_property
    def members(self) -> list[npt.NDArray[np.intp]]:
        """Rows of each fold."""
        return [np.flatnonzero(self.folds == k) for k in range(self.count)]

    @cached_property
    def grams(self) -> npt.NDArray[np.float64]:
        """X'WX of each fold, the intercept first, shape (folds, width + 1, width + 1)."""
        return np.stack(each_fold(lambda k: self.design.gram(self.members[k], self.weights), self.count))

    @cached_property
    def sample(self) -> npt.NDArray[np.intp]:
        """Rows that learners other than ridge regressions see."""
        n = self.design.n
        if n <= SAMPLE_ROWS:
            return np.arange(n)
        return np.sort(np.random.default_rng(self.seed).choice(n, SAMPLE_ROWS, replace=False))

    @cached_property
    def sample_rows(self) -> Matrix:
        """The sample's design, written out."""
        return self.design.rows(self.sample)

    @cached_property
    def _whole(self) -> Matrix | None:
        small = self.design.n * len(self.bent) <= _WHOLE
        return self.design.rows(np.arange(self.design.n), self.bent) if small else None

    def chunks(self, rows: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
        """Cut rows into pieces that may be written out."""
        return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]

    def rows(self, index: npt.NDArray[np.intp]) -> Matrix:
        """Write out what trees see of some rows (a copy)."""
        return self.design.rows(index, self.bent) if self._whole is None else self._whole[index]

    def weights_of(self, rows: npt.NDArray[np.intp]) -> Floats | None:
        """Return the weights of some rows, or None."""
        return None if self.weights is None else self.weights[rows]

    @cached_property
    def binned(self) -> list[lightgbm.Dataset]:
        """The sample without each fold, binned once for all trees.

        Labels are set before each use; columns that a nuisance may not see are switched off when it grows.
        """
        label = np.zeros(len(self.sample))
        rows = self.sample_rows[:, self.bent]
        whole = lightgbm.Dataset(rows, label=label, params=dict(TREES), free_raw_data=False).construct()
        folds = self.folds[self.sample]
        return [whole.subset(np.flatnonzero(folds != k).tolist()).construct() for k in range(self.count)]

    def prepare(self) -> None:
        """Make what is kept, before threads ask for it at the same time."""
        _ = self.members, self.sample_rows, self._whole
