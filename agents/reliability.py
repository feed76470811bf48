"""Do promises keep? Predicted probabilities of being validated, held against the verdicts that came."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whyrank.agents.calibration import Calibration, Signals
from whyrank.edge import Edge, Hypothesis

__all__ = ["FEWEST", "Bin", "Reliability", "TrackRecord", "cross_fitted", "reliability", "track_record"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

FEWEST = 12
"""Judged edges below which nothing is said about calibration."""

_BINS, _IN_BIN, _FOLDS = 5, 6, 5
_Z = 1.959963984540054
_SUREST = 0.99


@dataclass(frozen=True)
class Bin:
    """Edges whose predictions are next to each other.

    Attributes
    ----------
    count, validated : edges in it, and those of them that were validated.
    predicted : mean prediction.
    low, high : 95 % interval of the share of validated ones (Wilson 1927).
    """

    count: int
    validated: int
    predicted: float
    low: float
    high: float

    @property
    def share(self) -> float:
        """Share of validated edges."""
        return self.validated / self.count


@dataclass(frozen=True)
class Reliability:
    """Predictions held against verdicts, beside a forecast that always tells the base rate.

    Attributes
    ----------
    verdicts, validated : judged edges, and those of them that were validated.
    bins : from the lowest predictions to the highest; empty where there are too few verdicts, or all are the same.
    brier, brier_base : mean squared error of the predictions, and of the base rate; smaller is better.
    log_loss, log_loss_base : mean of -log(probability of what happened), in nats; no forecast counts as surer than
        99 %.
    """

    verdicts: int
    validated: int
    bins: tuple[Bin, ...] = ()
    brier: float = math.nan
    brier_base: float = math.nan
    log_loss: float = math.nan
    log_loss_base: float = math.nan

    @property
    def enough(self) -> bool:
        """Whether there are enough verdicts of both kinds to say something."""
        return bool(self.bins)


@dataclass(frozen=True)
class TrackRecord:
    """What became of a proposer's claims: its votes, and the calibrated predictions, held against the verdicts.

    Attributes
    ----------
    votes : edges on which votes were cast, with the share of votes as the prediction.
    predictions : all judged edges, predicted from the verdicts about other causes.
    """

    votes: Reliability
    predictions: Reliability


def track_record(
    hypotheses: Sequence[Hypothesis],
    outcomes: Sequence[bool | None],
    signals: Mapping[Edge, Signals] | None = None,
) -> TrackRecord:
    """Return both; parameters are those of `Calibration.fit`, with one hypothesis an edge."""
    voted = sorted(
        (str(h.edge), h.confidence, bool(outcome))
        for h, outcome in zip(hypotheses, outcomes, strict=True)
        if outcome is not None and h.confidence is not None
    )
    votes = reliability([share for _, share, _ in voted], [outcome for _, _, outcome in voted])
    return TrackRecord(votes, cross_fitted(hypotheses, outcomes, signals))


def cross_fitted(
    hypotheses: Sequence[Hypothesis],
    outcomes: Sequence[bool | None],
    signals: Mapping[Edge, Signals] | None = None,
) -> Reliability:
    """Predict each judged edge from the verdicts about other causes, and hold the predictions against the verdicts.

    Parameters are those of `Calibration.fit`. Causes are dealt to five folds by their names; a fold's edges are
    predicted by a calibration that saw none of their causes, and its base rate is that of the others too.
    """
    judged = {h.edge: bool(outcome) for h, outcome in zip(hypotheses, outcomes, strict=True) if outcome is not None}
    if len(judged) < FEWEST or len(set(judged.values())) < 2:
        return Reliability(len(judged), sum(judged.values()))
    causes = sorted({edge.cause for edge in judged})
    fold = {cause: i % _FOLDS for i, cause in enumerate(causes)}
    predicted: dict[Edge, float] = {}
    base: dict[Edge, float] = {}
    for k in range(min(_FOLDS, len(causes))):
        seen = [None if fold.get(h.edge.cause, k) == k else judged.get(h.edge) for h in hypotheses]
        fitted = Calibration.fit(hypotheses, seen, signals)
        rate = (fitted.validated + 1) / (fitted.verdicts + 2)
        inside = [h for h in hypotheses if h.edge in judged and fold[h.edge.cause] == k]
        predicted |= dict(zip((h.edge for h in inside), fitted.probabilities(inside, signals), strict=True))
        base |= {h.edge: rate for h in inside}
    edges = sorted(judged, key=str)
    return reliability([predicted[e] for e in edges], [judged[e] for e in edges], base=[base[e] for e in edges])


def reliability(
    predicted: Sequence[float], validated: Sequence[bool], *, base: Sequence[float] | None = None
) -> Reliability:
    """Hold predictions against what happened.

    Parameters
    ----------
    predicted, validated : one of each an edge.
    base : the rival forecast of each; by default the share of validated ones among all.

    Examples
    --------
    >>> told = reliability([0.1] * 20 + [0.9] * 20, [False] * 18 + [True] * 2 + [True] * 19 + [False])
    >>> [(b.count, round(b.predicted, 2), b.share) for b in told.bins]
    [(20, 0.1, 0.1), (20, 0.9, 0.95)]
    >>> round(told.brier, 3), round(told.brier_base, 3)
    (0.07, 0.249)
    """
    p, y = np.asarray(predicted, dtype=np.float64), np.asarray(validated, dtype=np.float64)
    count, hits = len(y), int(y.sum())
    if count < FEWEST or hits in (0, count):
        return Reliability(count, hits)
    rival = np.full(count, y.mean()) if base is None else np.asarray(base, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, max(1, min(_BINS, count // _IN_BIN)))
    return Reliability(
        count,
        hits,
        tuple(_bin(p[part], y[part]) for part in _untied(parts, p)),
        brier=float(np.mean((p - y) ** 2)),
        brier_base=float(np.mean((rival - y) ** 2)),
        log_loss=_log_loss(p, y),
        log_loss_base=_log_loss(rival, y),
    )


def _untied(parts: Sequence[Places], p: Floats) -> list[Places]:
    """Return the parts, with equal predictions in one of them."""
    out: list[Places] = []
    for part in parts:
        equal = p[part] == p[out[-1][-1]] if out else np.zeros(len(part), bool)
        if equal.any():
            out[-1] = np.concatenate([out[-1], part[equal]])
        if not equal.all():
            out.append(part[~equal])
    return out


def _bin(p: Floats, y: Floats) -> Bin:
    n, share = len(y), float(y.mean())
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Bin(n, int(y.sum()), float(p.mean()), max(0.0, centre - half), min(1.0, centre + half))


def _log_loss(p: Floats, y: Floats) -> float:
    inside = np.clip(p, 1 - _SUREST, _SUREST)
    return float(-np.mean(y * np.log(inside) + (1 - y) * np.log1p(-inside)))
