"""Standard errors from influence values when rows repeat users and items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = [
    "both_ways", "cluster_sums", "effective_clusters", "t_interval", "t_quantile", "two_sided", "two_way_se",
]  # fmt: skip

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


def cluster_sums(values: Floats, codes: Codes) -> Floats:
    """Return the sum of `values` in each cluster, shape (clusters,)."""
    return np.bincount(codes, weights=values).astype(np.float64)


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
    ways : one or two arrays of cluster codes; none means independent rows. Where all rows are of one cluster there is
        nothing to tell the error from: NaN.
    pair : codes of the intersection, needed for two ways.

    References
    ----------
    Cameron, Gelbach and Miller (2011), Robust inference with multiway clustering, JBES 29.
    """
    n = len(influence)
    if not ways:
        return float(np.sqrt(influence @ influence / max(n - 1, 1) / n))
    if any(codes.min() == codes.max() for codes in ways):
        return float("nan")  # the influence of a single cluster sums to zero, and says nothing of others
    parts = [_variance(influence, codes) for codes in ways]
    total = parts[0]
    if len(parts) == 2:
        total = both_ways(parts, influence, pair)
    return float(np.sqrt(total)) / n


def both_ways(parts: Sequence[float], influence: Floats, pair: Codes | None) -> float:
    """Return the sum of squares by two ways: the ways' own less their intersection's, never below the larger way's.

    Raises
    ------
    ValueError
        Without the codes of the intersection.
    """
    if pair is None:
        raise ValueError("two-way clustering needs the codes of the intersection")
    return max(parts[0] + parts[1] - _variance(influence, pair), max(parts))


def effective_clusters(weight: Floats, residual: Floats, codes: Codes) -> float:
    r"""Effective number of clusters: how many equal ones would give a variance estimate as steady as these.

    .. math:: G^* = \frac{(\sum_g c_g)^2}{\sum_g c_g^2}, \quad
        c_g = \sigma_e^2 \sum_{r \in g} w_r^2 + \sigma_b^2 (\sum_{r \in g} |w_r|)^2

    c_g is what cluster g adds to the variance of the estimate when its rows share a random effect; both components are
    estimated from the residuals. Sixty items of which three carry the attribute aren't sixty observations: the t
    quantile uses G*, as suggested by Carter, Schnepel and Steigerwald (2017, Review of Economics and Statistics 99).

    Parameters
    ----------
    weight : weight of each row in the estimate, shape (n,); rows of weight 0 don't count.
    residual : outcome residuals, shape (n,).
    codes : cluster codes.
    """
    rows = weight != 0
    w, r, g = np.abs(weight[rows]), residual[rows], codes[rows]
    if len(w) == 0:
        return 0.0
    sizes = np.bincount(g).astype(np.float64)
    pairs = float(np.sum(sizes**2 - sizes))
    together = float(np.sum(cluster_sums(r, g) ** 2 - cluster_sums(r**2, g)))
    total = float(np.mean(r**2))
    between = min(max(together / pairs, 0.0), total) if pairs > 0 else 0.0
    c = (total - between) * cluster_sums(w**2, g) + between * cluster_sums(w, g) ** 2
    spread = float(np.sum(c**2))
    return float(np.sum(c)) ** 2 / spread if spread > 0 else 0.0


def t_interval(estimate: float, se: float, dof: float, level: float = 0.95) -> tuple[float, float, float]:
    """Return (low, high, two-sided p) from Student's t."""
    if not se > 0:
        return float("nan"), float("nan"), float("nan")
    half = t_quantile(dof, level) * se
    return estimate - half, estimate + half, two_sided(estimate / se, dof)


def t_quantile(dof: float, level: float = 0.95) -> float:
    """Return how many standard errors an interval reaches to either side."""
    return float(special.stdtrit(dof, 0.5 + level / 2))


def two_sided(t: float, dof: float) -> float:
    """Return the two-sided p-value of a t statistic."""
    return float(2 * special.stdtr(dof, -abs(t)))
