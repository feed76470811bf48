r"""Wild cluster bootstrap for few or unequal clusters, from sums by cluster alone: nothing is refitted.

Sixty items of which three are shown half of the time aren't sixty observations, and Student's t with sixty degrees of
freedom rejects far too often, with three far too seldom. The bootstrap turns the scores of whole clusters round at
random, with the null imposed, and reads off how far the t statistic then strays:

.. math:: s_g(\theta_0) = \sum_{r \in g} \psi_r + (\hat\theta - \theta_0) a_g, \quad
    \theta^* - \theta_0 = \sum_g v_g s_g, \quad
    t^* = \frac{\theta^* - \theta_0 + z \sqrt{R}}{\sqrt{V^* + R}}

with :math:`v_g = \pm 1`, :math:`V^*` the cluster-robust variance of the turned scores after the effect and an intercept
are taken out of them, :math:`a_g` the share of the effect that it carries, and R what the other way of clustering adds
to the variance (thousands of users: known well). The weights are drawn for the way that leaves the variance less
certain. `benchmarks/clusters.py` counts how often attributes without an effect are rejected.

References
----------
Cameron, Gelbach and Miller (2008), Bootstrap-based improvements for inference with clustered errors, Review of
Economics and Statistics 90; Kline and Santos (2012), A score based approach to wild bootstrap inference, Journal of
Econometric Methods 1; MacKinnon, Nielsen and Webb (2021), Wild bootstrap and asymptotic inference with multiway
clustering, JBES 39.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize

from whyrank.estimators.clusters import t_quantile, two_sided
from whyrank.estimators.sums import Sums

__all__ = ["Inference", "Signs", "few_clusters", "infer", "random_signs", "t_quantile", "two_sided", "wild_bootstrap"]

Floats = npt.NDArray[np.float64]

FEW_CLUSTERS = 100.0
"""Effective clusters below which the bootstrap is used: above, Student's t differs from it by less than its noise."""

DRAWS = 2_000
"""Draws of the weights; each counts twice, with the other way's part added and taken away."""

KEPT = 512
"""Clusters whose weights are drawn: those that matter most. What the rest adds to the variance is known well."""


@dataclass(frozen=True)
class Signs:
    """Random signs by which clusters are turned round, and normal draws for the other way; one set serves a run.

    Attributes
    ----------
    clusters : +1 or -1, float32, shape (draws, `KEPT`): a column each for the cluster that matters most, the next, ...
    noise : standard normal, shape (draws,).
    """

    clusters: npt.NDArray[np.float32]
    noise: Floats


@lru_cache(maxsize=4)
def random_signs(seed: int, draws: int = DRAWS) -> Signs:
    """Return the signs that belong to a seed."""
    rng = np.random.default_rng([seed, 0x51613])
    signs = rng.integers(0, 2, (draws, KEPT), dtype=np.int8).astype(np.float32)
    return Signs(2 * signs - 1, rng.standard_normal(draws))


@dataclass(frozen=True)
class Inference:
    """Interval and p-value of an effect.

    Attributes
    ----------
    se : standard error, clustered.
    low, high : 95 % interval.
    p : two-sided.
    dof : degrees of freedom of Student's t whose 95 % quantile is the one used.
    method : "t" or "wild bootstrap".
    clusters : effective clusters, all ways together (NaN without clusters).
    """

    se: float
    low: float
    high: float
    p: float
    dof: float
    method: str
    clusters: float


def infer(
    estimate: float, se: float, sums: Mapping[str, Sums], *, rows: float, signs: Signs, level: float = 0.95
) -> Inference:
    """Return interval and p-value of an effect: by wild cluster bootstrap where clusters are few, else Student's t.

    Parameters
    ----------
    estimate, se : the effect and its clustered standard error.
    sums : its sums by each way of clustering; empty where rows are independent.
    rows : effective number of rows, for degrees of freedom without clusters.
    signs : for the bootstrap.
    level : of the interval.
    """
    nan = float("nan")
    few = few_clusters(sums)
    worth = _effective(se, sums) if sums else nan
    if not (se > 0 and np.isfinite(estimate)):
        return Inference(se, nan, nan, nan, nan, "t", worth)
    if few is None or worth >= FEW_CLUSTERS:
        dof = max((rows if few is None else worth) - 1.0, 1.0)
        half = t_quantile(dof, level) * se
        return Inference(se, estimate - half, estimate + half, two_sided(estimate / se, dof), dof, "t", worth)
    return replace(wild_bootstrap(estimate, se, few, signs=signs, level=level), clusters=worth)


def few_clusters(sums: Mapping[str, Sums]) -> Sums | None:
    """Return the sums of the way that leaves the variance least certain: much of it, from few clusters."""
    return max(sums.values(), key=lambda s: s.variance**2 / max(s.effective, 1e-9)) if sums else None


def _effective(se: float, sums: Mapping[str, Sums]) -> float:
    r"""Effective clusters of all ways together (Satterthwaite): :math:`V^2 / \sum_c (V_c^2 / G^*_c)`."""
    doubt = sum((s.variance / s.total**2) ** 2 / max(s.effective, 1e-9) for s in sums.values())
    return se**4 / doubt if doubt > 0 else float("nan")


def wild_bootstrap(estimate: float, se: float, sums: Sums, *, signs: Signs, level: float = 0.95) -> Inference:
    """Return interval and p-value from the restricted wild cluster bootstrap of one way of clustering.

    The interval holds the effects that the bootstrap, with that effect imposed, doesn't reject. The p-value is that of
    Student's t with the degrees of freedom whose quantile is the bootstrap's, so that it isn't bounded by the number of
    draws.

    Parameters
    ----------
    estimate, se : the effect and its standard error; what `se` holds beyond the variance over these clusters is taken
        for known.
    sums : sums by the clusters that are turned round.
    signs : random ones.
    level : of the interval.
    """
    turned = _Turned.by(signs, estimate, se, sums, level)
    quantile = turned.quantile(0.0, level)
    dof = _degrees(quantile, level)
    low, high = (estimate + side * se * turned.reach(side, level) for side in (-1.0, 1.0))
    return Inference(se, low, high, two_sided(estimate / se, dof), dof, "wild bootstrap", sums.effective)


@dataclass(frozen=True)
class _Turned:
    """Products of the random weights with the sums, from which t* at any imposed effect is arithmetic on the draws.

    `weighted` holds, for each draw, the weighted sums of scores S, shares a, outcomes Y, causes T, and of S·a, a·a, S·L
    and a·L with L the leverages. `fixed` holds their unweighted sums.
    """

    estimate: float
    se: float
    scale: float
    rest: float
    least: float
    z: Floats
    weighted: dict[str, Floats]
    fixed: dict[str, float]

    @classmethod
    def by(cls, signs: Signs, estimate: float, se: float, sums: Sums, level: float) -> _Turned:
        n = sums.total
        S, a, L = sums.influence / n, sums.share, sums.leverage / n
        T = sums.cause / n
        Y = (sums.outcome - float(sums.outcome.sum()) / n * sums.rows) / n
        heavy = np.argsort(-(S**2 + (estimate * a) ** 2), kind="stable")[:KEPT]
        scale = sums.groups / max(sums.groups - 1, 1)
        S, a, L, T, Y = (column[heavy] for column in (S, a, L, T, Y))
        known = scale * float(S @ S)
        rest = max(se**2 - known, 0.0)
        columns = {"S": S, "a": a, "Y": Y, "T": T, "Sa": S * a, "aa": a * a, "SL": S * L, "aL": a * L}
        scales = np.array([max(float(np.abs(c).max()), 1e-300) for c in columns.values()])
        products = signs.clusters[:, : len(heavy)] @ (np.column_stack(list(columns.values())) / scales).astype(
            np.float32
        )
        weighted = {name: products[:, j] * scales[j] for j, name in enumerate(columns)}
        pairs = {"SS": S @ S, "Sa": S @ a, "aa": a @ a, "aL": a @ L, "LL": L @ L}
        least = t_quantile(max(sums.groups - 1.0, 1.0), level)
        return cls(
            estimate, se, scale, rest, least, signs.noise, weighted, {name: float(v) for name, v in pairs.items()}
        )

    def quantile(self, imposed: float, level: float) -> float:
        """Return the quantile of |t*| with an effect imposed: never less than that of Student's t."""
        d, w, f = self.estimate - imposed, self.weighted, self.fixed
        slope = w["S"] + d * w["a"]
        centre = w["Y"] - imposed * w["T"]
        squares = f["SS"] + 2 * d * f["Sa"] + d * d * f["aa"]
        variance = (
            squares
            - 2 * slope * (w["Sa"] + d * w["aa"])
            - 2 * centre * (w["SL"] + d * w["aL"])
            + slope**2 * f["aa"]
            + 2 * slope * centre * f["aL"]
            + centre**2 * f["LL"]
        )
        spread = np.sqrt(self.scale * np.maximum(variance, 0.0) + self.rest)
        noise = self.z * np.sqrt(self.rest)
        spread = np.maximum(spread, 1e-300)
        t = np.concatenate([np.abs(slope + noise) / spread, np.abs(slope - noise) / spread])
        place = min(int(np.ceil(level * (len(t) + 1))) - 1, len(t) - 1)
        return max(float(np.partition(t, place)[place]), self.least)

    def reach(self, side: float, level: float) -> float:
        """Return by how many standard errors the interval reaches to one side."""
        reach = before = self.quantile(self.estimate, level)
        for _ in range(10):
            before, reach = reach, self.quantile(self.estimate + side * reach * self.se, level)
            if abs(reach - before) < 1e-3 * reach:
                return reach
        return 0.5 * (before + reach)


def _degrees(quantile: float, level: float) -> float:
    """Return the degrees of freedom of Student's t that has this quantile of its size; at most 10⁶."""

    def beyond(log_dof: float) -> float:
        return t_quantile(float(np.exp(log_dof)), level) - quantile

    low, high = np.log(0.5), np.log(1e6)
    if beyond(high) >= 0:
        return 1e6
    return float(np.exp(optimize.brentq(beyond, low, high, xtol=1e-6))) if beyond(low) > 0 else 0.5
