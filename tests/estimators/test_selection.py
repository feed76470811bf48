"""Ratings that people chose to give: weights by estimated propensities only where held-out outcomes ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from whyrank.estimators.selection import select
from whyrank.estimators.shared import SharedNuisances

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

    from whyrank.datasets.study_data import StudyData

USERS, ITEMS = 300, 120


def ratings(lab: Lab, seed: int = 1, *, hidden: float = 0.0, noise: float = 0.0) -> tuple[StudyData, float, float]:
    """Ratings of pairs chosen by taste: sale +.5 and +1 more for members, who rate what is on sale far more often.

    Returns the study and the average effect of a sale over the pairs in it, and over all pairs. Part of the taste is
    hidden; propensities are those of the choice, times noise.
    """
    rng = np.random.default_rng(seed)
    sale = (rng.random(ITEMS) < 0.5).astype(float)
    colour = rng.normal(size=ITEMS)
    member = (rng.random(USERS) < 0.5).astype(float)
    both = member[:, None] * sale[None, :]
    taste = rng.normal(size=(USERS, ITEMS))
    p = 1 / (1 + np.exp(2.5 - 2.5 * both - 0.5 * colour[None, :] - hidden * taste))
    rated = rng.random(p.shape) < p
    user, item = np.nonzero(rated)
    y = 3 + 0.5 * sale[item] + both[user, item] + 0.3 * colour[item] + 0.5 * taste[user, item]
    y += 0.15 * rng.normal(size=ITEMS)[item] + 0.3 * rng.normal(size=USERS)[user] + 0.5 * rng.normal(size=len(user))
    estimated = np.minimum(p[user, item] * np.exp(noise * rng.normal(size=len(user))), 1.0)
    data = lab.study(
        {"member": member},
        {"sale": sale, "colour": colour},
        {"user": user, "item": item, "y": y, "propensity": estimated},
        n_users=USERS,
        n_items=ITEMS,
        propensity="propensity",
        propensity_kind="estimated",
    )
    return data, 0.5 + float(member[user].mean()), 0.5 + float(member.mean())


def chosen(lab: Lab, data: StudyData) -> float:
    found = select(data, SharedNuisances(lab.panel(data), 7))
    assert found is not None
    return found.power


def test_good_propensities_lead_to_all_pairs(lab: Lab) -> None:
    data, rated, everyone = ratings(lab)
    assert chosen(lab, data) > 0
    found = lab.estimate(data, "items.sale -> events.y")
    assert abs(found.estimate - everyone) <= 3 * found.se
    assert abs(found.estimate - everyone) < abs(found.estimate - rated)
    (said,) = [w for w in found.warnings if "estimated propensities to the power" in w]
    assert "unweighted: +" in said
    assert found.ess < found.n


def test_bad_propensities_are_left_alone(lab: Lab) -> None:
    data, rated, _ = ratings(lab, noise=2.5)
    assert chosen(lab, data) == 0
    found = lab.estimate(data, "items.sale -> events.y")
    assert abs(found.estimate - rated) <= 3 * found.se
    (said,) = [w for w in found.warnings if "speaks of pairs like those in the log" in w]
    assert "(weighted: +" in said


@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_nothing_comes_of_selection_on_taste(lab: Lab, hidden: float) -> None:
    """A column that plays no part stays without effect, whether the taste that selects is measured or not."""
    data, _, _ = ratings(lab, hidden=hidden)
    data.items["colour"] = np.random.default_rng(9).normal(size=ITEMS)
    (verdict,) = lab.verdicts(data, "items.colour -> events.y")
    assert verdict.verdict != "validated"
    assert abs(verdict.estimate.estimate) <= 3 * verdict.estimate.se


def test_users_attributes_are_not_weighted(lab: Lab) -> None:
    data, _, _ = ratings(lab)
    found = lab.estimate(data, "users.member -> events.y")
    assert any("estimated, not logged" in warning for warning in found.warnings)
