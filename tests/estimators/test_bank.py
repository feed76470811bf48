"""A conjoint with random cards: effects known from the design, whose attributes go together and fool the naive look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from whyrank.datasets import load_study
from whyrank.edge import Edge
from whyrank.estimators.estimating import estimate_edges

BANK = Path(__file__).resolve().parents[3] / "shared" / "data" / "bank"


@pytest.mark.skipif(not BANK.exists(), reason="the bank conjoint is not here")
@pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")
def test_design_based_effects_are_recovered() -> None:
    truth = pd.read_csv(BANK / "truth.csv")
    truth = truth[truth["modifier"].isna()].set_index("edge")
    data = load_study(BANK)
    found = {str(edge): e for edge, (e,) in estimate_edges(data, [Edge.parse(edge) for edge in truth.index])}
    estimates = np.array([found[edge].estimate for edge in truth.index])
    off = (estimates - truth["estimate"]) / truth["se_twoway"]
    assert off.abs().max() < 3
    naive = np.array([found[edge].naive for edge in truth.index])
    assert np.allclose(naive, truth["naive"], atol=1e-6)
    error = float(np.sqrt(np.mean((estimates - truth["estimate"]) ** 2)))
    assert error < 0.2 * float(np.sqrt(np.mean((naive - truth["estimate"]) ** 2)))
    assert {e.population for e in found.values()} == {"randomised rows"}
