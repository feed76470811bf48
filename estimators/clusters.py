"""Standard errors from influence values when rows repeat users and items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["cluster_sums", "effective_clusters", "t_interval", "two_way_se"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


def cluster_sums(values: Floats, codes: Codes) -> Floats:
    """Return the sum of `values` in each cluster, shape (clusters,)."""
    return np.bincount(codes, weights=values)


def _variance(values: Floats, codes: Codes) -> float:
    present = np.bincount(codes) > 0
    groups = int(present.sum())
    sums = cluster_sums(values, codes)[present]
    return float(sums @ sums) * groups / max(groups - 1, 1)


def two_way_se(influence: Floats, ways: Sequence[Codes], pair: Codes | None = None) -> float:
    r"""Cluster-robust standard error of a mean of influence values.

    .. math:: V = (V_u + V_i - V_{ui}) / n^2, \quad V_c = \frac{G_c}{G_c - 1} \sum_g (\sum_{r \in g} \psi_r)^2

    and never less than the larger of the one-way variances, which the difference can be in small samples.

    Parameters
    ----------
    influence : centred influence values, shape (n,).
    ways : one or two arrays of cluster codes; none means independent rows.
    pair : codes of the intersection, needed for two ways.

    References
    ----------
    Cameron, Gelbach and Miller (2011), Robust inference with multiway clustering, JBES 29.
    """
    n = len(influence)
    if not ways:
        return float(np.sqrt(influence @ influence / max(n - 1, 1) / n))
    parts = [_variance(influence, codes) for codes in ways]
    total = parts[0]
    if len(parts) == 2:
        if pair is None:
            raise ValueError("two-way clustering needs the codes of the intersection")
        total = max(parts[0] + parts[1] - _variance(influence, pair), max(parts))
    return float(np.sqrt(total)) / n


def effective_clusters(weight: Floats, codes: Codes) -> float:
    r"""Effective number of clusters, :math:`(\sum_g c_g)^2 / \sum_g c_g^2` with :math:`c_g = (\sum_{r \in g}|w_r|)^2`.

    Sixty items of which three carry the attribute are not sixty observations; this is about the number that they
    are worth (Carter, Schnepel and Steigerwald 2017), and the t quantile uses it.
    """
    c = cluster_sums(np.abs(weight), codes) ** 2
    total = float(np.sum(c**2))
    return float(np.sum(c)) ** 2 / total if total > 0 else 0.0


def t_interval(estimate: float, se: float, dof: float, level: float = 0.95) -> tuple[float, float, float]:
    """Return (low, high, two-sided p) from Student's t."""
    if not se > 0:
        return float("nan"), float("nan"), float("nan")
    half = float(stats.t.ppf(0.5 + level / 2, dof)) * se
    return estimate - half, estimate + half, float(2 * stats.t.sf(abs(estimate) / se, dof))
