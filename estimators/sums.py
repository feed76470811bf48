"""Sums by cluster of all that errors and gates are computed from: one pass over the rows, shared by all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from whyrank.estimators.clusters import both_ways

if TYPE_CHECKING:
    from whyrank.estimators.effects import Effect

__all__ = ["Sums", "clustered_error", "sums_of", "variance_parts"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Sums:
    r"""What each cluster adds to an effect; all arrays have shape (clusters,), clusters without rows left out.

    Attributes
    ----------
    kind : "users", "items" or "rows".
    total : rows of the panel, n.
    rows, counted : rows of the cluster, and those of them that carry the cause (residual not 0).
    influence : sum of influence values, :math:`\sum \psi`.
    leverage : sum of leverages, which is what an intercept would move.
    share : how much of the effect the cluster carries, :math:`\sum |w \tilde T|`, scaled to sum to one:
        its scores move by as much when an effect is imposed that is smaller by one.
    cause, outcome, squares : sums of residual cause, residual outcome and squared residual cause.
    product : sum of residual cause times residual outcome.
    lost : columns adjusted for that vary from cluster to cluster as the cause does.
    """

    kind: str
    total: int
    rows: Floats
    counted: Floats
    influence: Floats
    leverage: Floats
    share: Floats
    cause: Floats
    outcome: Floats
    squares: Floats
    product: Floats
    lost: int = 0

    @property
    def groups(self) -> int:
        """Number of clusters."""
        return len(self.rows)

    @cached_property
    def variance(self) -> float:
        r"""Cluster-robust sum of squares, and what the columns adjusted for cost.

        .. math:: V = \frac{G}{G - 1} \left( \frac{G - 1}{G - 1 - k} \right)^2 \sum_g (\sum_{r \in g} \psi_r)^2

        Every column at the clusters' own level costs one of them, and costs it twice: predictions out of fold are as
        far off as their coefficients are, in what is predicted of the cause and of the outcome, and the two errors
        meet in the estimate, though not in its scores. At most half of the clusters are taken to be lost.
        """
        left = self.groups - 1 - min(self.lost, self.groups // 2)
        factor = self.groups * max(self.groups - 1, 1) / max(left, 1) ** 2
        return float(self.influence @ self.influence) * factor

    @cached_property
    def effective(self) -> float:
        r"""Effective number of clusters: how many equal ones would give a variance estimate as steady as these.

        .. math:: G^* = \frac{(\sum_g c_g)^2}{\sum_g c_g^2}

        with c what a cluster adds to the variance: its squared leverage if what its rows have in common outweighs the
        rest, the share of the effect that it carries if not; the fewer of the two (Carter, Schnepel and Steigerwald
        2017, Review of Economics and Statistics 99).
        """
        return min(_equal(self.leverage**2), _equal(self.share))


def _equal(c: Floats) -> float:
    spread = float(c @ c)
    return float(c.sum()) ** 2 / spread if spread > 0 else 0.0


def sums_of(effect: Effect, ways: Mapping[str, Codes], lost: Mapping[str, int] | None = None) -> dict[str, Sums]:
    """Return the sums of an effect by each way of clustering; `lost` holds the columns lost to each."""
    t, y = effect.t_residual, effect.y_residual
    carried = np.abs(effect.leverage * t)
    if effect.weight is not None:  # which the residual holds the root of once more
        carried = carried / np.sqrt(effect.weight)
    total = float(carried.sum())
    columns = (
        (t != 0).astype(np.float64), effect.influence, effect.leverage, carried / total if total > 0 else carried,
        t, y, t**2, t * y,
    )  # fmt: skip
    out = {}
    for kind, codes in ways.items():
        rows = np.bincount(codes).astype(np.float64)
        present = rows > 0
        counted, influence, leverage, share, cause, outcome, squares, product = (
            np.bincount(codes, weights=column)[present].astype(np.float64) for column in columns
        )
        out[kind] = Sums(
            kind=kind,
            total=len(t),
            rows=rows[present],
            counted=counted,
            influence=influence,
            leverage=leverage,
            share=share,
            cause=cause,
            outcome=outcome,
            squares=squares,
            product=product,
            lost=(lost or {}).get(kind, 0),
        )
    return out


def clustered_error(effect: Effect, sums: Mapping[str, Sums], pair: Codes | None = None) -> float:
    r"""Standard error of an effect from its sums by no, one or two ways of clustering.

    .. math:: V = (V_u + V_i - V_{ui}) / n^2

    and never less than the larger of the one-way variances, which the difference can be in small samples. Without
    clusters rows are independent. Where all rows are of one cluster there is nothing to tell the error from: NaN.

    Parameters
    ----------
    effect : the effect.
    sums : its sums by each way.
    pair : codes of the intersection, needed for two ways.

    References
    ----------
    Cameron, Gelbach and Miller (2011), Robust inference with multiway clustering, JBES 29.
    """
    psi = effect.influence
    n = len(psi)
    if not sums:
        return float(np.sqrt(psi @ psi / max(n - 1, 1) / n))
    if any(s.groups < 2 for s in sums.values()):
        return float("nan")  # the influence of a single cluster sums to zero, and says nothing of others
    parts = [s.variance for s in sums.values()]
    total = parts[0]
    if len(parts) == 2:
        total = both_ways(parts, psi, pair)
    return float(np.sqrt(total)) / n


def variance_parts(effect: Effect, sums: Mapping[str, Sums], se: float) -> dict[str, float]:
    """Return the shares of a squared standard error that come from items, users and the exposures themselves.

    More exposures of the same items make the last of them smaller, and none of the others.
    """
    if not se > 0:
        return {}
    whole = (se * len(effect.influence)) ** 2
    rows = float(effect.influence @ effect.influence)
    parts = {kind: max(s.variance - rows, 0.0) for kind, s in sums.items()}
    parts["exposures"] = max(whole - sum(parts.values()), 0.0)
    total = sum(parts.values())
    return {kind: float(f"{part / total:.4g}") for kind, part in parts.items()}
