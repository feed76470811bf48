"""What is tested first: hypotheses are looked at quickly, and ranked by how probably they will be validated."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from whyrank.agents.calibration import Calibration, Signals
from whyrank.agents.client import Progress
from whyrank.agents.merge import merge_hypotheses
from whyrank.agents.reliability import FEWEST, TrackRecord, track_record
from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError
from whyrank.estimators.estimate import Judgement
from whyrank.screen import screen

__all__ = ["Budget", "Plan", "Spending", "contrasts_of", "edge_outcomes", "plan_tests", "record_of"]


_AT_ONCE = 8
"""Edges estimated between two looks at the clock."""


@dataclass(frozen=True)
class Budget:
    """What may be spent on testing; None is no limit.

    Attributes
    ----------
    edges : so many edges are estimated at most.
    seconds : none is begun later than this, but for the first few; what is begun is finished. Which edges that leaves
        out depends on the machine, and so do q-values.
    """

    edges: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.edges is not None and self.edges < 1:
            raise InputError(f"a budget of {self.edges!r} edges tests nothing: expected 1 or more")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise InputError(f"a budget of {self.seconds!r} seconds: expected a positive number")


@dataclass
class Spending:
    """A budget, and what was spent of it so far: several calls may share one.

    Attributes
    ----------
    budget : what may be spent.
    edges : edges handed out so far.
    started : when the first edge was asked for; None before that.
    """

    budget: Budget
    edges: int = 0
    started: float | None = None

    def batches(self, edges: Sequence[Edge]) -> Iterator[Sequence[Edge]]:
        """Yield the edges to estimate, most promising first, until the budget is spent."""
        self.started = time.monotonic() if self.started is None else self.started
        most, seconds = self.budget.edges, self.budget.seconds
        allowed = edges if most is None else edges[: max(0, most - self.edges)]
        size = len(allowed) if seconds is None else _AT_ONCE
        for first in range(0, len(allowed), max(1, size)):
            if seconds is not None and self.edges and time.monotonic() - self.started >= seconds:
                return
            batch = allowed[first : first + size]
            self.edges += len(batch)
            yield batch


@dataclass(frozen=True)
class Plan:
    """The order of testing, and where it comes from.

    Attributes
    ----------
    hypotheses : most promising first; judged ones too.
    probabilities : of being validated, by edge.
    signals : what the quick look found, by edge.
    calibration : the coefficients that made the order.
    """

    hypotheses: tuple[Hypothesis, ...]
    probabilities: Mapping[Edge, float]
    signals: Mapping[Edge, Signals]
    calibration: Calibration

    @property
    def edges(self) -> list[Edge]:
        """The edges to test, most promising first."""
        return [h.edge for h in self.hypotheses]

    def table(self, *, skip: Container[Edge] = ()) -> pd.DataFrame:
        """Return the plan as a table, without the edges to `skip`; see `Study.plan`."""
        shown = [h for h in self.hypotheses if h.edge not in skip]
        return pd.DataFrame(
            {
                "edge": [str(h.edge) for h in shown],
                "probability": [self.probabilities[h.edge] for h in shown],
                "association": [self.signals.get(h.edge, Signals()).association for h in shown],
                "confidence": [h.confidence for h in shown],
                "likelihood": [h.likelihood for h in shown],
                "source": [h.source for h in shown],
            }
        ).astype({"probability": float, "association": float, "confidence": float, "likelihood": float})


def plan_tests(
    data: StudyData,
    hypotheses: Sequence[Hypothesis],
    judgements: Sequence[Judgement] = (),
    *,
    progress: Progress | None = None,
) -> Plan:
    """Return the order in which hypotheses are best tested, given the verdicts reached so far.

    The same data, hypotheses and verdicts give the same order, in whichever order they come. It is for choosing what to
    test: no estimate depends on it.
    """
    signals = screen(data, [h.edge for h in hypotheses], progress=progress)
    known = edge_outcomes(judgements)
    calibration = Calibration.fit(hypotheses, [known.get(h.edge) for h in hypotheses], signals)
    ranked = calibration.rank(hypotheses, signals)
    promised = dict(zip((h.edge for h in ranked), calibration.probabilities(ranked, signals), strict=True))
    return Plan(tuple(ranked), promised, signals, calibration)


def edge_outcomes(judgements: Iterable[Judgement]) -> dict[Edge, bool]:
    """Return whether each judged edge has a contrast that was validated; any other verdict is none."""
    found: dict[Edge, bool] = {}
    for judgement in judgements:
        edge = judgement.estimate.contrast.edge
        found[edge] = found.get(edge, False) or judgement.verdict == "validated"
    return found


def record_of(
    data: StudyData,
    hypotheses: Sequence[Hypothesis],
    judgements: Sequence[Judgement],
    *,
    progress: Progress | None = None,
) -> TrackRecord:
    """Hold votes and predictions against the verdicts; see `track_record`."""
    known = edge_outcomes(judgements)
    merged = [h for h in merge_hypotheses(hypotheses).hypotheses if h.edge in known]
    outcomes = [known[h.edge] for h in merged]
    telling = len(merged) >= FEWEST and len(set(outcomes)) == 2  # else no number is told, and the quick look is spared
    return track_record(merged, outcomes, screen(data, [h.edge for h in merged], progress=progress) if telling else {})


def contrasts_of(edge: Edge, data: StudyData) -> int:
    """Return how many contrasts an edge has at most: one for each level, times those of its modifier."""
    count = 1
    for name in filter(None, (edge.cause, edge.modifier)):
        attribute = data.attribute(name)
        if attribute.kind == "set":
            count *= max(1, len(attribute.levels))
        elif attribute.kind != "numeric":
            count *= max(1, len(attribute.levels) - 1)
    return count
