"""Of what the judge validates, how much does nothing? Worlds in which some attributes have effects and others don't.

`python benchmarks/false_discovery.py` draws logs of 400 users, 300 items and 6,000 exposures with twenty attributes of
items, users and exposures, all of which go together with measured confounders that move the outcome along a curve;
a share of them (none, a half, four in five, all) does nothing. Each log is judged as a run is, gates included, and the
share of false ones among what is validated is averaged over logs; beside it stands the power, and the same for
Benjamini-Hochberg on p-values of one regression an attribute with rows taken as independent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from interval_coverage import LAB
from machine import describe_machine
from scipy import stats

from whyrank.edge import Edge, Hypothesis
from whyrank.estimators.estimating import estimate_edges
from whyrank.estimators.judge import judge

RESULTS = Path(__file__).parent.parent / "bench-results"
FDR = 0.05
SIZE = {"items": 0.35, "users": 0.3, "events": 0.15}


@dataclass(frozen=True)
class Log:
    """One log: how many attributes do something, what was validated, and what regressions find."""

    null: float
    seed: int
    causal: int
    true: int
    false: int
    naive_true: int
    naive_false: int

    @property
    def proportion(self) -> float:
        """Share of false ones among what was validated; 0 if nothing was."""
        return self.false / max(self.true + self.false, 1)

    @property
    def naive_proportion(self) -> float:
        """The same of regressions."""
        return self.naive_false / max(self.naive_true + self.naive_false, 1)


def draw(seed: int, null: float, users: int = 400, items: int = 300, n: int = 6_000) -> tuple[Any, dict[str, float]]:
    """Draw a log in which a share of the attributes does nothing; returns it and the effects."""
    rng = np.random.default_rng([seed, round(100 * null), 4])
    price, age = rng.normal(size=items), rng.normal(size=users)
    user, item = rng.integers(0, users, n), rng.integers(0, items, n)
    hour = rng.uniform(-1.7, 1.7, n)
    confounder = {"items": price, "users": age, "events": hour}
    where = {"items": item, "users": user, "events": np.arange(n)}
    made: dict[str, dict[str, Any]] = {"items": {"price": price}, "users": {"age": age}, "events": {"hour": hour}}
    y = 0.4 * (price**2)[item] + 0.3 * age[user] + 0.5 * hour**2 + rng.normal(size=n)
    y = y + 0.4 * rng.normal(size=items)[item] + 0.4 * rng.normal(size=users)[user]
    effects: dict[str, float] = {}
    for table, count in (("items", 8), ("users", 6), ("events", 6)):
        w = confounder[table]
        for k in range(count):
            score = 0.6 * (w**2 - 1) + 0.4 * w + 0.3 * rng.normal()
            binary = (rng.random(len(w)) < 1 / (1 + np.exp(-score))).astype(np.float64)
            values = binary if k % 2 else score + rng.normal(size=len(w))
            name = f"{table}.x{k}"
            size = SIZE[table] * (1.0 if k % 2 else 0.5) * rng.choice([-1.0, 1.0])
            effects[name] = 0.0 if rng.random() < null else float(size)
            made[table][f"x{k}"] = values
            y = y + effects[name] * values[where[table]]
    events = {"user": user, "item": item, "y": y} | made["events"]
    return LAB.study(made["users"], made["items"], events, n_users=users, n_items=items, seed=seed), effects


def score(seed: int, null: float) -> Log:
    """Draw one log, judge it, and compare."""
    data, effects = draw(seed, null)
    edges = [Edge(name, "events.y") for name in effects]
    found = [e for _, estimates in estimate_edges(data, edges) for e in estimates]
    verdicts = judge(found, [Hypothesis(edge) for edge in edges], fdr=FDR, smallest_effect=0.0)
    validated = {v.estimate.contrast.edge.cause: v.estimate.estimate for v in verdicts if v.verdict == "validated"}
    right = sum(effects[name] * estimate > 0 for name, estimate in validated.items())
    naive = naive_finds(data, list(effects))
    naive_right = sum(effects[name] * slope > 0 for name, slope in naive.items())
    causal = sum(size != 0 for size in effects.values())
    return Log(null, seed, causal, right, len(validated) - right, naive_right, len(naive) - naive_right)


def naive_finds(data: Any, names: list[str]) -> dict[str, float]:
    """Return the slopes that one regression an attribute finds, with independent rows, at the same level."""
    y = data.events["y"].to_numpy()
    slopes, p = [], []
    for name in names:
        table, column = name.split(".")
        values = getattr(data, table)[column].to_numpy()
        found = stats.linregress(values if table == "events" else values[data.events[table[:-1]].to_numpy()], y)
        slopes.append(float(found.slope))
        p.append(max(float(found.pvalue), 1e-300))
    kept = stats.false_discovery_control(p) <= FDR
    return {name: slope for name, slope, keep in zip(names, slopes, kept, strict=True) if keep}


def show(logs: list[Log]) -> None:
    """Print one line a share of attributes that do nothing."""
    heads = f"{'do nothing':12s}{'logs':>6s}{'false of validated':>20s}{'± s.e.':>8s}{'power':>8s}"
    print(f"{heads}{'regressions':>14s}{'power':>8s}")
    for null in dict.fromkeys(log.null for log in logs):
        mine = [log for log in logs if log.null == null]
        share = np.array([log.proportion for log in mine])
        causal = sum(log.causal for log in mine)
        power, naive = (
            f"{sum(getattr(log, name) for log in mine) / causal:.2f}" if causal else "-"
            for name in ("true", "naive_true")
        )
        print(
            f"{null:<12.0%}{len(mine):6d}{share.mean():20.3f}{share.std() / np.sqrt(len(mine)):8.3f}{power:>8s}"
            f"{np.mean([log.naive_proportion for log in mine]):14.3f}{naive:>8s}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=50, help="logs for each share (default 50)")
    parser.add_argument("--quick", action="store_true", help="4 logs for each share")
    options = parser.parse_args()
    print(describe_machine("numpy", "lightgbm"))
    logs: list[Log] = []
    start, count = time.perf_counter(), 4 if options.quick else options.logs
    for null in (0.0, 0.5, 0.8, 1.0):
        for seed in range(count):
            logs.append(score(seed, null))
        print(f"  {null:.0%}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print(f"{(time.perf_counter() - start) / len(logs):.2f} s a log\n")
    show(logs)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "false-discovery.json"
    target.write_text(json.dumps([asdict(log) for log in logs], indent=1) + "\n", encoding="utf-8")
    print(f"\neach log: {target}")


if __name__ == "__main__":
    main()
