"""Negative-control outcomes: an open path shows on what the cause can't affect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from whyrank.edge import Edge
from whyrank.estimators.controls import control_outcomes

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

    from whyrank.datasets.study_data import StudyData

ITEMS, ROWS = 120, 6_000


def returns(lab: Lab, hidden: float, forbidden: tuple[str, ...] = ("items.badge -> events.z",)) -> StudyData:
    """A badge with an effect of .5 on y and none on z; `hidden` quality moves the badge and both outcomes."""
    draw = np.random.default_rng(1)
    quality = draw.normal(size=ITEMS)
    badge = (draw.random(ITEMS) < 1 / (1 + np.exp(-2 * hidden * quality))).astype(float)
    user, item = draw.integers(0, 200, ROWS), draw.integers(0, ITEMS, ROWS)
    y = 0.5 * badge[item] + hidden * quality[item] + draw.normal(size=ROWS)
    z = 0.8 * hidden * quality[item] + draw.normal(size=ROWS)
    events = {"user": user, "item": item, "y": y, "z": z}
    colour = list(np.array(["red", "blue", "green"])[draw.integers(0, 3, ITEMS)])
    return lab.study(
        {}, {"badge": badge, "colour": colour}, events, outcomes=("y", "z"), n_users=200, forbidden=forbidden
    )


def control(estimate: Any) -> Any:
    return {check.name: check for check in estimate.checks}.get("negative_control")


@pytest.mark.parametrize(("hidden", "verdict"), [(0.0, "validated"), (0.6, "inconclusive")])
def test_a_hidden_cause_of_both_shows_on_the_control(lab: Lab, hidden: float, verdict: str) -> None:
    (found,) = lab.verdicts(returns(lab, hidden), "items.badge -> events.y")
    check = control(found.estimate)
    assert check.passed is (hidden == 0)
    assert found.verdict == verdict
    if hidden:
        assert any("on events.z, which it can't affect, it comes out as" in reason for reason in found.reasons)


def test_only_declared_outcomes_are_controls(lab: Lab) -> None:
    data = returns(lab, 0.0)
    assert control_outcomes(data, Edge("items.badge", "events.y")) == ("events.z",)
    assert control_outcomes(data, Edge("items.colour", "events.y")) == ()
    assert control_outcomes(data, Edge("items.badge", "users.y")) == ()
    assert control(lab.estimates(data, "items.colour -> events.y")[0]) is None
    undeclared = returns(lab, 0.6, forbidden=())
    assert control(lab.estimate(undeclared, "items.badge -> events.y")) is None


def test_levels_have_controls_of_their_own(lab: Lab) -> None:
    data = returns(lab, 0.0, forbidden=("items.colour -> events.z",))
    found = lab.estimates(data, "items.colour -> events.y")
    assert len(found) == 2
    assert control(found[0]).data != control(found[1]).data
    assert all(control(estimate).passed for estimate in found)
