"""Does taking validated effects out of popularity pay? The table in docs/ranker.md.

`python benchmarks/ranker_base.py` draws the worlds of the ranker's tests, whose truth is known, ranks with the true
effects as weights, and prints how far the true expected outcome of the best five items falls short of the best.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from whyrank.ranker import Ranker

TESTS = Path(__file__).parent.parent / "tests" / "ranker" / "conftest.py"


def worlds() -> Any:
    """Load the module that builds the worlds."""
    spec = importlib.util.spec_from_file_location("ranker_worlds", TESTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ranker_worlds"] = module
    spec.loader.exec_module(module)
    return module


def shortfall(world: Any, ranker: Ranker, k: int = 5) -> float:
    """Return how much the best k by score fall short of the best k by truth, on average over users."""
    scores = ranker.scores([str(user) for user in world.data.user_ids])
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = -np.sort(-world.truth, axis=1)[:, :k]
    return float(np.mean(best.mean(axis=1) - np.take_along_axis(world.truth, chosen, axis=1).mean(axis=1)))


def main(seeds: int = 10) -> None:
    """Print the table."""
    made = worlds()
    print(describe_machine("numpy", "pandas"))
    print(f"{'exposures':>10}{'own worth':>11}{'net popularity':>16}{'counted twice':>15}{'popularity alone':>18}")
    for own in (0.3, 0.8):
        for n_events in (1_000, 4_000, 20_000):
            rows = []
            for seed in range(seeds):
                world = made.build(seed, n_users=200, n_items=150, n_events=n_events, own=own)
                judged = made.true_judgements(world)
                rankers = (
                    Ranker(world.data, judged),
                    Ranker(world.data, judged, net_base=False),
                    Ranker(world.data, judged, strength=0.0),
                )
                rows.append([shortfall(world, ranker) for ranker in rankers])
            net, twice, alone = np.mean(rows, axis=0)
            print(f"{n_events:>10,}{own:>11}{net:>16.3f}{twice:>15.3f}{alone:>18.3f}")


if __name__ == "__main__":
    main()
