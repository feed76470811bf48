r"""How probable is it that an edge will be validated? Prior beliefs, corrected by the verdicts reached so far.

The probability is logistic in a few terms, each the logarithm of what a piece of evidence multiplies the odds by:

.. math:: \operatorname{logit} P(\text{validated}) = \beta_0 + \sum_k \beta_k x_k, \qquad
    \beta_k \sim N(m_k, s_k^2)

Without a verdict the coefficients are the prior's means :math:`m_k` (`PRIOR`, one documented line each); every verdict
moves them, the sooner the larger :math:`s_k`. Coefficients of votes, likelihood and association can't fall below zero:
more support never makes an edge less promising.

Nothing here reaches an estimate or a verdict: it decides what is tested first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from whyrank.agents.merge import pool
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError

__all__ = ["PRIOR", "Calibration", "Prior", "Signals", "association_evidence"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """What is believed of one coefficient before any verdict: a mean, a spread, and whether it may be negative."""

    mean: float
    spread: float
    positive: bool = False


PRIOR: Mapping[str, Prior] = {
    "base": Prior(-1.2, 1.0),  # about one proposed edge in four is validated
    "users": Prior(0.0, 0.25),  # the cause is an attribute of users
    "items": Prior(0.0, 0.25),
    "events": Prior(0.0, 0.25),
    "modified": Prior(-1.0, 0.7),  # differences of effects are smaller than effects, and harder to find
    "upstream": Prior(0.0, 0.7),  # the effect is an attribute or a total, not what was done on an exposure
    "named": Prior(0.3, 0.5),  # somebody chose the edge, instead of trying every one
    "votes": Prior(1.0, 1.0, positive=True),  # from no vote to all votes the odds grow by e
    "likelihood": Prior(0.5, 0.5, positive=True),
    "similarity": Prior(0.0, 1.0),
    "association": Prior(0.7, 0.3, positive=True),  # a cheap regression is not the test: its evidence counts for less
}
"""The terms, in order, and what is believed of their coefficients before any verdict."""

_BOUNDS = [(0.0, None) if prior.positive else (None, None) for prior in PRIOR.values()]
_MEANS = np.array([prior.mean for prior in PRIOR.values()])
_SPREADS = np.array([prior.spread for prior in PRIOR.values()])

_EFFECT_VARIANCE = 9.0
"""Variance of an effect that exists, in squared standard errors of the cheap association."""

_TRUSTED = 4.0
"""Standard errors beyond which a larger association says little more: what it isn't adjusted for grows with the log."""


@dataclass(frozen=True)
class Signals:
    """What is known of an edge beside its proposers' word; None where it isn't known.

    Attributes
    ----------
    association : how many standard errors an inexpensive adjusted association is away from zero; its sign is ignored.
    similarity : cosine similarity of the embeddings of cause and effect, -1..1.
    """

    association: float | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Coefficients of the terms of `PRIOR`, and how many verdicts they were learned from.

    Attributes
    ----------
    coefficients : in the order of `PRIOR`.
    verdicts, validated : edges with a verdict, and those of them that were validated.

    Examples
    --------
    >>> price, colour = (Hypothesis(Edge.parse(f"items.{x} -> events.click"), source="llm") for x in ("price", "hue"))
    >>> prior = Calibration.prior()
    >>> signals = {price.edge: Signals(association=5.0), colour.edge: Signals(association=0.3)}
    >>> [str(h.edge) for h in prior.rank([colour, price], signals)]
    ['items.price -> events.click', 'items.hue -> events.click']
    >>> Calibration.fit([colour, price], [None, True], signals).verdicts
    1
    """

    coefficients: tuple[float, ...]
    verdicts: int = 0
    validated: int = 0

    @classmethod
    def prior(cls) -> Calibration:
        """Return what is believed without any verdict."""
        return cls(tuple(float(m) for m in _MEANS))

    @classmethod
    def fit(
        cls,
        hypotheses: Sequence[Hypothesis],
        outcomes: Sequence[bool | None],
        signals: Mapping[Edge, Signals] | None = None,
    ) -> Calibration:
        """Correct the prior by verdicts; the same verdicts give the same coefficients, in whichever order they come.

        Parameters
        ----------
        hypotheses : as proposed; several about one edge count as one, with their votes pooled.
        outcomes : for each, whether its edge was validated; None where there is no verdict yet.
        signals : what else is known, by edge.

        Raises
        ------
        InputError
            If there aren't as many outcomes as hypotheses, or one edge was both validated and not.
        """
        pooled, y = _observed(hypotheses, outcomes)
        if not pooled:
            return cls.prior()
        X = _terms(pooled, signals)
        options = {"maxiter": 500, "ftol": 1e-14, "gtol": 1e-9}
        with threadpool_limits(limits=1):  # threads wait for each other longer than so small a sum takes
            found = minimize(_loss, _MEANS, args=(X, y), jac=True, bounds=_BOUNDS, method="L-BFGS-B", options=options)
        return cls(tuple(float(b) for b in found.x), len(y), int(y.sum()))

    def probabilities(
        self, hypotheses: Sequence[Hypothesis], signals: Mapping[Edge, Signals] | None = None
    ) -> list[float]:
        """Return the probability that each hypothesis's edge will be validated."""
        return [float(p) for p in expit(self._scores(hypotheses, signals))]

    def rank(self, hypotheses: Iterable[Hypothesis], signals: Mapping[Edge, Signals] | None = None) -> list[Hypothesis]:
        """Return the hypotheses most promising first; equals stand in the order of their edges' text."""
        given = list(hypotheses)
        scored = zip(self._scores(given, signals), given, strict=True)
        return [h for _, h in sorted(scored, key=lambda one: (-one[0], str(one[1].edge), one[1].round, one[1].source))]

    def weights(self) -> dict[str, float]:
        """Return the coefficients by term."""
        return dict(zip(PRIOR, self.coefficients, strict=True))

    def _scores(self, hypotheses: Sequence[Hypothesis], signals: Mapping[Edge, Signals] | None) -> list[float]:
        groups: dict[Edge, list[Hypothesis]] = {}
        for hypothesis in hypotheses:
            groups.setdefault(hypothesis.edge, []).append(hypothesis)
        if not groups:
            return []
        X = _terms([pool(members) for members in groups.values()], signals)
        # summed term by term: a product of matrices may round a row otherwise beside other rows
        by_edge = {
            edge: math.fsum(x * b for x, b in zip(row, self.coefficients, strict=True))
            for edge, row in zip(groups, X.tolist(), strict=True)
        }
        return [by_edge[h.edge] for h in hypotheses]


def association_evidence(z: float) -> float:
    r"""Return the logarithm of the Bayes factor for an effect, from an estimate `z` standard errors away from zero.

    .. math:: -\tfrac12\log(1+\tau^2) + \tfrac12 z^2 \frac{\tau^2}{1+\tau^2}

    with effects that exist spread by :math:`\tau = 3` standard errors; beyond four standard errors it grows as the
    logarithm of z only.

    Examples
    --------
    >>> [round(association_evidence(z), 2) for z in (0.0, 2.0, -4.0, 40.0)]
    [-1.15, 0.65, 6.05, 8.35]
    """
    size = abs(z)
    inside = min(size, _TRUSTED)
    beyond = math.log(size / _TRUSTED) if size > _TRUSTED else 0.0
    v = _EFFECT_VARIANCE
    return -0.5 * math.log1p(v) + 0.5 * inside**2 * v / (1 + v) + beyond


def _observed(hypotheses: Sequence[Hypothesis], outcomes: Sequence[bool | None]) -> tuple[list[Hypothesis], Floats]:
    """Edges that have a verdict, pooled and in the order of their text, and their outcomes."""
    if len(hypotheses) != len(outcomes):
        raise InputError(f"{len(hypotheses)} hypotheses and {len(outcomes)} outcomes: expected one outcome each")
    groups: dict[Edge, list[Hypothesis]] = {}
    verdicts: dict[Edge, bool] = {}
    for hypothesis, outcome in zip(hypotheses, outcomes, strict=True):
        groups.setdefault(hypothesis.edge, []).append(hypothesis)
        if outcome is not None and verdicts.setdefault(hypothesis.edge, bool(outcome)) != bool(outcome):
            raise InputError(f"edge {str(hypothesis.edge)!r} is given as validated and as not validated")
    edges = sorted(verdicts, key=str)
    return [pool(groups[edge]) for edge in edges], np.array([float(verdicts[edge]) for edge in edges])


def _terms(pooled: Sequence[Hypothesis], signals: Mapping[Edge, Signals] | None) -> Floats:
    known = signals or {}
    return np.array([_row(h, known.get(h.edge, Signals())) for h in pooled], dtype=np.float64)


def _row(h: Hypothesis, signals: Signals) -> list[float]:
    """The terms of one edge; what isn't known is 0, which neither speaks for it nor against it."""
    cause = h.edge.cause.split(".", 1)[0]
    said = h.source != "exhaustive"
    association = signals.association
    known = association is not None and math.isfinite(association)
    terms: dict[str, float] = {
        "base": 1.0,
        "users": cause == "users",
        "items": cause == "items",
        "events": cause == "events",
        "modified": h.edge.modifier is not None,
        "upstream": not h.edge.effect.startswith("events."),
        "named": said,
        "votes": 0.0 if h.confidence is None else h.confidence - 0.5,
        "likelihood": 0.0 if h.likelihood is None else math.tanh(h.likelihood / 2),
        "similarity": signals.similarity or 0.0,
        "association": association_evidence(association) if association is not None and known else 0.0,
    }
    return [float(terms[name]) for name in PRIOR]


def _loss(b: Floats, X: Floats, y: Floats) -> tuple[float, Floats]:
    """Negative log posterior and its gradient."""
    score = X @ b
    apart = (b - _MEANS) / _SPREADS
    value = float(np.sum(np.logaddexp(0.0, score) - y * score) + 0.5 * apart @ apart)
    return value, np.asarray(X.T @ (expit(score) - y) + apart / _SPREADS)
