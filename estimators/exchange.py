"""Placebos that respect clusters: the cause changes places among clusters, and rows within them."""

from __future__ import annotations

import numpy as np

from whyrank.estimators.plain import Codes, Floats
from whyrank.estimators.scores import adder

__all__ = ["Exchange"]


class Exchange:
    r"""Collects what the spread of such a placebo needs, for all causes and outcomes at once.

    The cause's means change places among the G clusters, what is left of it among the rows of each. Both parts of the
    numerator have mean 0 and an exact variance over all permutations,

    .. math:: Var = \frac{\sum_g (\bar t_g - \bar t)^2 \sum_g (Y_g - \bar Y)^2}{G - 1}
        + \sum_g \frac{SS_g(t)\, SS_g(\tilde y)}{n_g - 1}, \quad Y_g = \sum_{r \in g} \tilde y_r

    so that a cause that is constant in each cluster has as many placebos as there are clusters, not rows.

    Parameters
    ----------
    clusters : number of clusters.
    causes, outcomes : number of columns of either.
    """

    def __init__(self, clusters: int, causes: int, outcomes: int) -> None:
        self._size = np.zeros(clusters)
        self._t, self._tt = np.zeros((clusters, causes)), np.zeros((clusters, causes))
        self._y, self._yy = np.zeros((clusters, outcomes)), np.zeros((clusters, outcomes))

    def add(self, t: Floats, y: Floats, codes: Codes) -> None:
        """Take some rows in: causes as they are, residuals of the outcomes, clusters."""
        names, pick = adder(codes, t.dtype)
        self._size[names] += np.diff(pick.indptr)
        for into, values in ((self._t, t), (self._tt, t * t), (self._y, y), (self._yy, y * y)):
            into[names] += pick @ values

    def sd(self, *, grid: bool) -> Floats:
        """Standard deviations of the placebo effects: of all pairs, shape (causes, outcomes), or column by column."""
        present = self._size > 0
        size, groups = self._size[present][:, None], int(present.sum())
        t = self._t[present] / size
        within_t = np.maximum(self._tt[present] - size * t**2, 0.0)
        within_y = np.maximum(self._yy[present] - self._y[present] ** 2 / size, 0.0)
        t = t - t.mean(axis=0)
        y = self._y[present] - self._y[present].mean(axis=0)
        spread_t, spread_y = (t**2).sum(axis=0), (y**2).sum(axis=0)
        energy = float(size.sum()) / groups * spread_t + within_t.sum(axis=0)
        within_t /= np.maximum(size - 1, 1.0)
        if grid:
            variance = np.outer(spread_t, spread_y) / max(groups - 1, 1) + within_t.T @ within_y
            return np.asarray(np.sqrt(variance) / energy[:, None])
        variance = spread_t * spread_y / max(groups - 1, 1) + np.einsum("ge,ge->e", within_t, within_y)
        return np.asarray(np.sqrt(variance) / energy)
