r"""Weights from logged propensities: exposures as if items had been drawn without regard to user and context.

.. math:: w_r = q(i_r) / p_r

with p the logged probability of showing this item on this row and q the item's share of the log (stabilised weights,
Robins, Hernan and Brumback 2000). In the weighted log the item is independent of user and context, measured or not, so
that nothing of theirs confounds what is an item's. Where the rule could show every item, weights average one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_ESS_SHARE", "Weighting", "clip_to_ess", "logged_weights"]

Floats = npt.NDArray[np.float64]

MIN_ESS_SHARE = 0.1
"""Effective share of the rows, (Σw)² / (n Σw²), that weights must leave; larger ones are clipped until they do."""

FAR_FROM_ONE = 0.1
"""By how much the mean of the weights may differ from one before the propensities are doubted."""


@dataclass(frozen=True)
class Weighting:
    """Weights of the rows of a panel.

    Attributes
    ----------
    weight : mean 1, shape (n,).
    clipped : rows whose weight was cut, to `cap` times the mean before clipping.
    cap : infinite if none was.
    lost : share of the total weight that clipping took away.
    ess : effective sample size, (Σw)² / Σw².
    mean : mean of the weights before clipping and normalising, and its standard error if rows were independent.
    mean_se : see `mean`.
    design : whether the weights come from a known design, so that the weighted log is as good as random.
    """

    weight: Floats
    clipped: int
    cap: float
    lost: float
    ess: float
    mean: float
    mean_se: float
    design: bool = True

    @property
    def doubtful(self) -> bool:
        """Whether the weights are too far from one on average for the propensities to be what they should be."""
        off = abs(self.mean - 1.0)
        return off > FAR_FROM_ONE and off > 4 * self.mean_se


def logged_weights(propensity: Floats, item: npt.NDArray[np.int32]) -> Weighting:
    """Return stabilised weights, clipped to an effective sample size and normalised.

    Parameters
    ----------
    propensity : probability with which the rule in force for the row shows its item, shape (n,), in (0, 1].
    item : codes of the items, shape (n,).
    """
    share = np.bincount(item) / len(item)
    return clip_to_ess(share[item] / propensity)


def clip_to_ess(raw: Floats, least: float = MIN_ESS_SHARE) -> Weighting:
    """Cut the largest weights down to the largest cap that leaves an effective share of the rows; normalise to mean 1.

    The more is clipped, the less the weighted log is the random one it stands for: no more than needed, and said.

    Parameters
    ----------
    raw : weights, shape (n,), positive.
    least : effective share that must be left.

    References
    ----------
    Ionides (2008), Truncated importance sampling, JCGS 17.
    """
    n, mean = len(raw), float(raw.mean())
    mean_se = float(raw.std() / np.sqrt(n))
    cap = np.inf
    if _ess(raw) < least * n:
        cap = _cap(np.sort(raw), least * n)
    weight = np.minimum(raw, cap)
    clipped = int((raw > cap).sum())
    lost = 1.0 - float(weight.sum() / raw.sum())
    return Weighting(weight / weight.mean(), clipped, cap / mean, lost, _ess(weight), mean, mean_se)


def _cap(order: Floats, wanted: float) -> float:
    """Return the cap on sorted weights that leaves an effective sample of this size.

    Between two neighbours of the order, m weights lie above the cap c, and (T + mc)² = ess (S + mc²) with T and S the
    sum and the sum of squares of the others.
    """
    n = len(order)
    total, squares, above = np.cumsum(order), np.cumsum(order**2), n - 1.0 - np.arange(n)
    ess = (total + above * order) ** 2 / (squares + above * order**2)
    k = int(np.flatnonzero(ess >= wanted)[-1])
    m, T, S = above[k], total[k], squares[k]
    roots = np.roots([m**2 - wanted * m, 2 * T * m, T**2 - wanted * S])
    inside = [float(c.real) for c in roots if abs(c.imag) < 1e-9 and order[k] <= c.real <= order[min(k + 1, n - 1)]]
    return max(inside, default=float(order[k]))


def _ess(weight: Floats) -> float:
    return float(weight.sum()) ** 2 / float(weight @ weight)
