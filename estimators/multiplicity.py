"""Many tests at once: false discovery rates over a run, and over its edges whose levels are tested together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Multiplicity", "benjamini_hochberg", "benjamini_yekutieli", "edge_q_values", "q_values"]

Floats = npt.NDArray[np.float64]

Multiplicity = Literal["bh", "by"]
"""Benjamini-Hochberg, for tests that are independent or depend positively; Benjamini-Yekutieli, for any dependence."""


def q_values(p: Floats, rule: Multiplicity = "bh") -> Floats:
    """Return the q-value of each p-value; NaN stays NaN and doesn't count as a test."""
    return benjamini_hochberg(p) if rule == "bh" else benjamini_yekutieli(p)


def benjamini_hochberg(p: Floats) -> Floats:
    """Return the Benjamini-Hochberg q-value of each p-value; NaN stays NaN and doesn't count as a test.

    References
    ----------
    Benjamini and Hochberg (1995), JRSS B 57.

    Examples
    --------
    >>> [round(float(q), 3) for q in benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03]))]
    [0.03, 0.04, nan, 0.04]
    """
    return _stepped(p, 1.0)


def benjamini_yekutieli(p: Floats) -> Floats:
    r"""Return the Benjamini-Yekutieli q-value of each p-value: those of Benjamini and Hochberg times :math:`\sum 1/k`.

    References
    ----------
    Benjamini and Yekutieli (2001), Annals of Statistics 29.
    """
    return _stepped(p, _harmonic(int(np.isfinite(p).sum())))


def edge_q_values(p: Floats, edges: Sequence[Hashable], rule: Multiplicity = "bh") -> Floats:
    r"""Return, for each contrast, the smallest false discovery rate over *edges* at which it is found.

    Edges are selected by the step-up rule on the smallest p-value of each, and within a selected edge a contrast is
    found if its own p-value, adjusted for the edge's other contrasts, is below the same threshold:

    .. math:: q_l = \min_{t \ge p_l} \frac{m\,t}{\#\{e : \min_{k \in e} p_k \le t\}}

    so that among the selected edges the average error, over edges, is held (Benjamini and Bogomolov 2014, Selective
    inference on multiple families of hypotheses, JRSS B 76). Where every edge has one contrast these are the q-values
    of the rule itself.

    Parameters
    ----------
    p : p-values adjusted for the other contrasts of their edge; NaN where nothing was tested.
    edges : the edge of each.
    rule : of the step-up.
    """
    q = np.full(len(p), np.nan)
    best: dict[Hashable, float] = {}
    for edge, value in zip(edges, p, strict=True):
        if np.isfinite(value):
            best[edge] = min(best.get(edge, np.inf), float(value))
    if not best:
        return q
    smallest = np.sort(np.array(list(best.values())))
    m = len(smallest)
    factor = 1.0 if rule == "bh" else _harmonic(m)
    at_edges = np.minimum.accumulate((smallest * m / np.arange(1, m + 1))[::-1])[::-1]
    tested = np.flatnonzero(np.isfinite(p))
    below = np.searchsorted(smallest, p[tested], side="right")
    later = np.append(at_edges, np.inf)[below]  # at a larger threshold, the next edge's
    q[tested] = np.minimum(np.minimum(p[tested] * m / np.maximum(below, 1), later) * factor, 1.0)
    return q


def _stepped(p: Floats, factor: float) -> Floats:
    q = np.full(len(p), np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    if len(tested) == 0:
        return q
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1] * factor, 1.0)
    return q


def _harmonic(m: int) -> float:
    return float(np.sum(1.0 / np.arange(1, m + 1))) if m else 1.0
