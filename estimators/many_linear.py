"""Linear nuisances of many edges: one pass for Gram matrices, one for scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from whyrank.estimators.closed import Noise
from whyrank.estimators.grams import Columns, Folds, Regressions, Standardised, gram_matrices
from whyrank.estimators.many_sums import Edges, Noisy, Refuter, Sums, room, score_groups
from whyrank.estimators.plain import Floats, Plain
from whyrank.estimators.scores import Group, Way

__all__ = ["Precision", "linear_sums"]

Precision = Literal["double", "single"]

GRID_EDGES = 8
"""From so many edges on, a set's edges are worked on as a grid of causes and outcomes."""

BUNDLE = 256
"""Edges of different adjustment sets that are worked on in one matrix product."""


def linear_sums(
    plain: Plain,
    edges: Edges,
    ways: Sequence[Way],
    folds: Folds | None,
    count: int,
    refuters: Sequence[Refuter],
    noise: float,
    precision: Precision,
) -> Sums:
    """Return the sums that effects and refuters are made of; parameters as in `estimate_many`.

    Parameters
    ----------
    edges, ways, folds, count : what is estimated, clusters, and the fold of each row (None: one fold).
    noise : of the bootstrap; 0 for none.
    """
    table = Standardised(plain, edges.columns, np.float64 if precision == "double" else np.float32)
    grams = gram_matrices(table, folds, count)
    gram = grams.sum(axis=0)
    n = int(gram[0, 0])
    cause, outcome = edges.positions()
    place = {name: i + 1 for i, name in enumerate(edges.columns)}
    plain_sets = _by_set(edges, [[place[name] for name in names] for names in edges.sets], cause, outcome)
    solved = [_Set.of(grams, adjust, members, cause, outcome, 0.0) for adjust, members in plain_sets]
    parts = _Parts(len(cause))
    for one in solved:
        parts.fill(one)
    estimate = np.divide(parts.ty, parts.tt, out=np.zeros(len(cause)), where=parts.tt > 0)
    among = np.zeros(len(cause)) if ways and "placebo" in refuters else None
    rows, by_way = np.zeros(len(cause)), tuple(np.zeros(len(cause)) for _ in ways)
    for bundles in _passes(solved, ways):
        groups = [_group(bundle) for bundle in bundles]
        raw = [group.targets[_worked_on(group)] for group in groups] if among is not None else None
        for bundle, (score, exchange) in zip(bundles, score_groups(table, groups, ways, folds, raw), strict=True):
            members = np.concatenate([one.members for one in bundle])
            rows[members] = score.by_rows(estimate[members])
            for w, values in enumerate(by_way):
                values[members] = score.by_clusters(w, estimate[members])
            if among is not None and exchange is not None:
                among[members] = score.of_edges(exchange.sd(grid=score.group.grid))
    centred = gram - np.outer(gram[0], gram[0]) / n
    return Sums(
        n,
        table.scale[outcome - 1] / table.scale[cause - 1],
        parts.tt,
        parts.ty,
        parts.yy - parts.mean**2 / n,
        centred[cause, cause],
        centred[cause, outcome],
        rows,
        by_way,
        among,
        _with_noise(table, grams, plain_sets, cause, outcome, folds, noise) if noise else None,
    )


@dataclass(frozen=True)
class _Set:
    """The edges of one adjustment set, and the regressions on it; `t` and `y` are positions among their targets."""

    members: npt.NDArray[np.intp]
    t: Columns
    y: Columns
    regressions: Regressions

    @classmethod
    def of(
        cls,
        grams: Floats,
        adjust: Sequence[int],
        members: npt.NDArray[np.intp],
        cause: Columns,
        outcome: Columns,
        noise: float,
    ) -> _Set:
        targets, place = np.unique(np.concatenate([cause[members], outcome[members]]), return_inverse=True)
        found = Regressions.of(grams, adjust, targets.tolist(), noise)
        return cls(members, place[: len(members)], place[len(members) :], found)

    @property
    def grid(self) -> bool:
        """Whether matrix products over all pairs of causes and outcomes pay."""
        pairs = len(np.unique(self.t)) * len(np.unique(self.y))
        return len(self.members) >= GRID_EDGES and pairs <= 4 * len(self.members)

    def take(self, which: npt.NDArray[np.intp]) -> _Set:
        """Return some of its edges."""
        return _Set(self.members[which], self.t[which], self.y[which], self.regressions)


class _Parts:
    """Sums of products of residuals by edge."""

    def __init__(self, edges: int) -> None:
        self.tt, self.ty, self.yy, self.mean = (np.zeros(edges) for _ in range(4))

    def fill(self, one: _Set) -> None:
        products = one.regressions.products
        self.tt[one.members] = products[one.t, one.t]
        self.ty[one.members] = products[one.t, one.y]
        self.yy[one.members] = products[one.y, one.y]
        self.mean[one.members] = one.regressions.totals[one.y]


def _by_set(
    edges: Edges, adjust: Sequence[list[int]], cause: Columns, outcome: Columns
) -> list[tuple[list[int], npt.NDArray[np.intp]]]:
    """Return each adjustment set with its edges."""
    which = np.array(edges.which)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(adjust) + 1))
    return [(columns, order[bounds[i] : bounds[i + 1]]) for i, columns in enumerate(adjust)]


def _passes(solved: Sequence[_Set], ways: Sequence[Way]) -> Iterator[list[list[_Set]]]:
    """Divide the sets into passes over the rows, and each pass into bundles that share matrix products."""
    most = room(ways)
    grids = [[part] for one in solved if one.grid for part in _pieces(one, most)]
    small = [part for one in solved if not one.grid for part in _pieces(one, min(most, BUNDLE))]
    bundles = [*grids, *_filled([[part] for part in small], min(most, BUNDLE))]
    yield from _filled([[bundle] for bundle in bundles], most)


def _pieces(one: _Set, most: int) -> Iterator[_Set]:
    """Divide the edges of a set, those of a cause next to each other."""
    order = np.argsort(one.t, kind="stable")
    for i in range(0, len(order), most):
        yield one.take(order[i : i + most])


def _worked_on(group: Group) -> Columns:
    """Return the residual columns of the causes, as `Scores` works on them."""
    return np.unique(group.cause) if group.grid else group.cause


T = TypeVar("T")


def _filled(parts: Sequence[list[T]], most: int) -> list[list[T]]:
    """Join neighbours as long as they have at most so many edges together."""
    out: list[list[T]] = []
    size = 0
    for part in parts:
        more = _edges_in(part)
        if out and size + more <= most:
            out[-1] = [*out[-1], *part]
            size += more
        else:
            out.append(list(part))
            size = more
    return out


def _edges_in(part: object) -> int:
    return sum(_edges_in(p) for p in part) if isinstance(part, list) else len(part.members)  # type: ignore[attr-defined]


def _group(bundle: Sequence[_Set]) -> Group:
    """Put the regressions of a bundle into one matrix: those of a set whole, those of several padded with zeros."""
    if len(bundle) == 1:
        one = bundle[0]
        found = one.regressions
        return Group(one.t, one.y, found.inputs, found.targets, found.coefficients, one.grid)
    inputs = np.unique(np.concatenate([one.regressions.inputs for one in bundle]))
    edges = sum(len(one.members) for one in bundle)
    targets = np.empty(2 * edges, np.intp)
    b = np.zeros((len(bundle[0].regressions.coefficients), len(inputs), 2 * edges))
    start = 0
    for one in bundle:
        found, stop = one.regressions, start + len(one.members)
        rows = np.searchsorted(inputs, found.inputs)
        for side, place in ((0, one.t), (edges, one.y)):
            where = np.arange(start, stop) + side
            targets[where] = found.targets[place]
            b[:, rows[:, None], where] = found.coefficients[:, :, place]
        start = stop
    return Group(np.arange(edges), np.arange(edges, 2 * edges), inputs, targets, b, False)


def _with_noise(
    table: Standardised,
    grams: Floats,
    sets: Sequence[tuple[list[int], npt.NDArray[np.intp]]],
    cause: Columns,
    outcome: Columns,
    folds: Folds | None,
    noise: float,
) -> Noisy:
    """Return what the bootstrap with noise in the adjustment columns needs; see `closed.noisy_bootstrap`."""
    n = float(grams[:, 0, 0].sum())
    every = grams.sum(axis=0)
    variance = noise**2 * (np.diagonal(every) - every[0] ** 2 / n) / n
    tt, ty, yy, aa, bb, ab, estimate, scores = (np.zeros(len(cause)) for _ in range(8))
    solved = [_Set.of(grams, adjust, members, cause, outcome, noise) for adjust, members in sets]
    for one in solved:
        found, m = one.regressions, one.members
        g = found.coefficients.mean(axis=0)[1:]
        each = variance[found.inputs[1:], None]
        shared = g.T @ (each * g)
        v_t, v_ty, v_y = shared[one.t, one.t], shared[one.t, one.y], shared[one.y, one.y]
        s_tt, s_ty, s_yy = (found.products[a, b] for a, b in ((one.t, one.t), (one.t, one.y), (one.y, one.y)))
        whole = s_tt + n * v_t
        theta = np.divide(s_ty + n * v_ty, whole, out=np.zeros(len(m)), where=whole > 0)
        tt[m], ty[m], yy[m], estimate[m] = s_tt, s_ty, s_yy, theta
        aa[m], ab[m], bb[m] = v_t, v_ty - theta * v_t, v_y - 2 * theta * v_ty + theta**2 * v_t
    for bundles in _passes(solved, ()):
        groups = [_group(bundle) for bundle in bundles]
        for bundle, (score, _) in zip(bundles, score_groups(table, groups, (), folds), strict=True):
            members = np.concatenate([one.members for one in bundle])
            scores[members] = score.by_rows(estimate[members])
    ee = yy - 2 * estimate * ty + estimate**2 * tt
    return Noisy(estimate, tt, ee, scores, Noise(aa, bb, ab))
