"""Calibration: a documented prior, corrected by verdicts; an order that keeps its laws; promises that keep."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from whyrank.agents.calibration import PRIOR, Calibration, Signals, association_evidence
from whyrank.agents.reliability import FEWEST, cross_fitted, reliability, track_record
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError

TABLES = ("users", "items", "events")


def claim(i: int, rng: np.random.Generator) -> Hypothesis:
    """A claim of any kind."""
    edge = Edge(
        f"{TABLES[i % 3]}.c{i}", "events.click" if rng.random() < 0.8 else "users.z", "users.m" if i % 7 == 0 else None
    )
    voted = rng.random() < 0.7
    return Hypothesis(
        edge,
        source="llm" if voted else "exhaustive",
        confidence=float(rng.integers(0, 5)) / 4 if voted else None,
        likelihood=float(rng.normal()) if rng.random() < 0.5 else None,
    )


def claims(n: int, seed: int) -> tuple[list[Hypothesis], dict[Edge, Signals]]:
    rng = np.random.default_rng(seed)
    found = [claim(i, rng) for i in range(n)]
    return found, {h.edge: Signals(association=float(rng.normal(0, 2.5))) for h in found}


def verdicts(found: list[Hypothesis], signals: dict[Edge, Signals], truth: Calibration, seed: int) -> list[bool]:
    drawn = np.random.default_rng([seed, 1]).random(len(found))
    return [bool(u < p) for u, p in zip(drawn, truth.probabilities(found, signals), strict=True)]


def changed(**coefficients: float) -> Calibration:
    """The prior with some coefficients replaced."""
    return Calibration(tuple((Calibration.prior().weights() | coefficients)[name] for name in PRIOR))


def test_without_verdicts_the_order_is_the_prior() -> None:
    found, signals = claims(30, 1)
    assert Calibration.fit(found, [None] * 30, signals) == Calibration.prior()
    assert Calibration.prior().weights() == {name: prior.mean for name, prior in PRIOR.items()}


def test_the_page_tells_the_prior() -> None:
    page = (Path(__file__).parents[2] / "docs" / "proposer-order.md").read_text("utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [(r[0].strip("|` "), float(r[1]), float(r[2]), "never below 0" in r[3]) for r in rows] == [
        (name, prior.mean, prior.spread, prior.positive) for name, prior in PRIOR.items()
    ]


def test_one_verdict_moves_it_a_little_and_many_move_it_to_the_truth() -> None:
    found, signals = claims(3000, 2)
    truth = changed(base=-0.5, votes=3.0, association=0.2)
    outcome = verdicts(found, signals, truth, 2)
    one = Calibration.fit(found[:1], outcome[:1], signals)
    apart = [abs(a - b) for a, b in zip(one.coefficients, Calibration.prior().coefficients, strict=True)]
    assert 0 < max(apart) < 0.8
    many = Calibration.fit(found, outcome, signals).weights()
    assert many["votes"] == pytest.approx(3.0, abs=0.5)
    assert many["association"] == pytest.approx(0.2, abs=0.06)


def test_promises_of_new_edges_keep_within_monte_carlo_error() -> None:
    truth = changed(base=-0.5, votes=2.5, association=0.3, events=0.8, modified=0.2)
    found, signals = claims(4000, 3)
    outcome = verdicts(found, signals, truth, 3)
    fitted = Calibration.fit(found[:2000], outcome[:2000], signals)
    told = fitted.probabilities(found[2000:], signals)
    kept = reliability(told, outcome[2000:])
    assert len(kept.bins) == 5
    for group in kept.bins:
        error = math.sqrt(group.predicted * (1 - group.predicted) / group.count)
        assert abs(group.share - group.predicted) < 3.5 * error
    assert kept.brier < kept.brier_base
    assert kept.log_loss < kept.log_loss_base


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_does_not_matter(n: int, shuffle: object) -> None:
    found, signals = claims(40, 4)
    outcome = [None if i >= n else i % 3 == 0 for i in range(40)]
    fitted = Calibration.fit(found, outcome, signals)
    places = list(range(40))
    shuffle.shuffle(places)  # type: ignore[attr-defined]
    mixed = [found[i] for i in places]
    again = Calibration.fit(mixed, [outcome[i] for i in places], signals)
    assert again == fitted
    assert again.rank(mixed, signals) == fitted.rank(found, signals)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.booleans(), min_size=20, max_size=20),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(-5, 5),
    st.floats(-8, 8),
)
def test_more_support_is_never_less_promising(
    outcome: list[bool], one: float, other: float, likelihood: float, z: float
) -> None:
    found, signals = claims(20, 5)
    fitted = Calibration.fit(found, outcome, signals)
    edge = Edge("items.new", "events.click")
    low, high = sorted((one, other))
    base = Hypothesis(edge, source="llm", confidence=low, likelihood=likelihood)
    beside = {edge: Signals(association=z)}

    def p(h: Hypothesis, known: dict[Edge, Signals]) -> float:
        return fitted.probabilities([h], known)[0]

    assert p(base, beside) <= p(replace(base, confidence=high), beside)
    assert p(base, beside) <= p(replace(base, likelihood=likelihood + high), beside)
    assert p(base, beside) <= p(base, {edge: Signals(association=abs(z) + high)})
    assert p(base, {edge: Signals(association=-z)}) == p(base, beside)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_larger_association_is_no_weaker_evidence(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert association_evidence(low) <= association_evidence(high)


def test_equals_stand_in_the_order_of_their_names() -> None:
    edges = [Edge(f"items.{name}", "events.click") for name in "cab"]
    ranked = Calibration.prior().rank([Hypothesis(edge) for edge in edges])
    assert [h.edge.cause for h in ranked] == ["items.a", "items.b", "items.c"]


def test_what_is_not_known_speaks_neither_way() -> None:
    h = Hypothesis(Edge("items.a", "events.click"), source="llm")
    silent = Calibration.prior().probabilities([h])
    assert Calibration.prior().probabilities([h], {h.edge: Signals(math.nan)}) == silent
    assert Calibration.prior().probabilities([replace(h, confidence=0.5)]) == silent
    assert silent == [pytest.approx(float(expit(PRIOR["base"].mean + PRIOR["named"].mean)))]


def test_an_edge_counts_once_however_many_proposed_it() -> None:
    h = Hypothesis(Edge("items.a", "events.click"), source="llm", confidence=1.0)
    twice = [h, replace(h, round=2)]
    assert Calibration.fit(twice, [True, None]).coefficients == Calibration.fit([h], [True]).coefficients
    with pytest.raises(InputError, match=r"'items.a -> events.click' is given as validated and as not validated"):
        Calibration.fit(twice, [True, False])
    with pytest.raises(InputError, match="2 hypotheses and 1 outcomes"):
        Calibration.fit(twice, [True])


def test_too_few_verdicts_tell_nothing() -> None:
    found, signals = claims(40, 6)
    some = [i % 2 == 0 if i < FEWEST - 1 else None for i in range(40)]
    assert not cross_fitted(found, some, signals).enough
    assert cross_fitted(found, [False] * 40, signals).bins == ()
    assert not track_record([], []).predictions.enough


def test_predictions_come_from_other_causes() -> None:
    """Verdicts that follow the cause alone can't be predicted from the other causes' verdicts."""
    rng = np.random.default_rng(7)
    good = rng.random(20) < 0.5
    found = [Hypothesis(Edge(f"items.c{c}", f"events.y{y}")) for c in range(20) for y in range(5)]
    outcome = [bool(good[c]) for c in range(20) for _ in range(5)]
    told = cross_fitted(found, outcome)
    assert told.verdicts == 100
    assert told.brier > 0.2


def test_votes_are_held_against_the_verdicts_on_voted_edges_alone() -> None:
    found, signals = claims(200, 8)
    outcome = verdicts(found, signals, changed(votes=6.0), 8)
    record = track_record(found, outcome, signals)
    assert record.votes.verdicts == sum(h.confidence is not None for h in found) < record.predictions.verdicts == 200
    assert sum(group.count for group in record.votes.bins) == record.votes.verdicts
    assert all(group.low <= group.share <= group.high for group in record.votes.bins)
