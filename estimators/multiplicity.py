"""Many tests at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["benjamini_hochberg"]


def benjamini_hochberg(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the Benjamini-Hochberg q-value of each p-value; NaN stays NaN and doesn't count as a test.

    References
    ----------
    Benjamini and Hochberg (1995), JRSS B 57.

    Examples
    --------
    >>> [round(float(q), 3) for q in benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03]))]
    [0.03, 0.04, nan, 0.04]
    """
    q = np.full(len(p), np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    if len(tested) == 0:
        return q
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
