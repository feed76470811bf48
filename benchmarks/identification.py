"""What is told apart, and what is left alone: mediators, colliders, hidden causes, and what rescues from them.

`python benchmarks/identification.py` simulates logs of 300 items and 12,000 exposures and judges one edge of each as
`whyrank validate` would. Bias is in standard errors of the estimate; beside it stands a least-squares regression on
all columns with independent rows. In the worlds with a hidden cause that nobody declared, the share of seeds in which
the edge is validated all the same is the figure to look at.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from logs import World
from machine import describe_machine

from whyrank.edge import Edge, Hypothesis
from whyrank.estimators.estimate import Estimate
from whyrank.estimators.judge import judge

RESULTS = Path(__file__).parent.parent / "bench-results"
EDGE = "items.t -> events.y"
USERS, ITEMS, ROWS = 400, 300, 12_000

Floats = npt.NDArray[np.float64]


def quoted(**keys: list[str]) -> str:
    """Return a [graph] section."""
    return "[graph]\n" + "".join(f"{key} = {json.dumps(values)}\n" for key, values in keys.items())


def log(
    rng: np.random.Generator, truth: float, items: dict[str, Floats], y: Floats, graph: str = "", study: str = ""
) -> World:
    """Return a log in which y of an item is seen with the noise of users and exposures."""
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    seen = y[item] + 0.3 * rng.normal(size=USERS)[user] + rng.normal(size=ROWS)
    events: dict[str, npt.NDArray[Any]] = {"user": user, "item": item, "y": seen}
    return World({"age": rng.normal(size=USERS)}, items, events, {EDGE: truth}, f'outcomes = ["y"]\n{study}', graph)


def post_treatment(seed: int, *, declared: bool = True) -> World:
    """A confounder, a mediator, a collider of hidden causes (M-bias), and a child of cause and mediator."""
    rng = np.random.default_rng([seed, 1])
    w, one, two = rng.normal(size=(3, ITEMS))
    t = 0.8 * w + one + rng.normal(size=ITEMS)
    mediator = 0.5 * t + rng.normal(size=ITEMS)
    child = t + mediator + 0.5 * rng.normal(size=ITEMS)
    m = one + two + 0.3 * rng.normal(size=ITEMS)
    y = 0.3 * t + 0.4 * mediator + 0.8 * w + 0.5 * two
    graph = quoted(
        edges=["items.t -> items.mediator", "items.mediator -> items.child", "items.t -> items.child"],
        unmeasured=["one -> items.t, items.m", "two -> items.m, events.y"],
    )
    items = {"t": t, "w": w, "mediator": mediator, "child": child, "m": m}
    return log(rng, 0.5, items, y, graph if declared else "")


def undeclared_structure(seed: int) -> World:
    """The same columns, and nobody said which follow from what."""
    return post_treatment(seed, declared=False)


def hidden(seed: int, *, graph: dict[str, list[str]] | None = None, truth: float = 0.5) -> World:
    """A hidden property of the item raises cause and outcome; z moves the cause alone, m carries all of its effect."""
    rng = np.random.default_rng([seed, 2])
    worth, w, z = rng.normal(size=(3, ITEMS))
    t = worth + z + 0.5 * w + rng.normal(size=ITEMS)
    m = t + 0.5 * w + rng.normal(size=ITEMS)
    y = truth * m + 0.8 * worth + (0.3 - 0.5 * truth) * w
    unmeasured = ["items.worth -> items.t, events.y"]
    given = {"unmeasured": unmeasured} | (graph or {})
    return log(rng, truth, {"t": t, "w": w, "z": z, "m": m}, y, quoted(**given))


MEDIATED = ["items.t -> items.m", "items.m -> events.y"]


def by_instrument(seed: int, truth: float = 0.5) -> World:
    """The same, with z declared an instrument."""
    edges = ["items.z -> items.t", *MEDIATED]
    return hidden(seed, graph={"edges": edges, "forbidden": ["items.z -> events.y"]}, truth=truth)


def by_front_door(seed: int, truth: float = 0.5) -> World:
    """The same, with m declared to carry the whole effect."""
    return hidden(seed, graph={"edges": MEDIATED, "forbidden": ["items.t -> events.y"]}, truth=truth)


def policy(seed: int, *, slice_of: float = 0.0, logged: bool = False, truth: float = 0.4) -> World:
    """A hidden mood decides who is shown what, and raises the outcome."""
    rng = np.random.default_rng([seed, 3])
    t, w = (rng.random(ITEMS) < 0.4).astype(np.float64), rng.normal(size=ITEMS)
    user, mood = rng.integers(0, USERS, ROWS), rng.normal(size=ROWS)
    drawn = (rng.random(ROWS) < slice_of).astype(np.float64)
    score = np.where(drawn > 0, 0.0, 0.8)[:, None] * mood[:, None] * t[None, :]
    share = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    item = np.minimum((rng.random(ROWS)[:, None] > share.cumsum(axis=1)).sum(axis=1), ITEMS - 1)
    y = truth * t[item] + 0.2 * w[item] + 0.8 * mood + 0.2 * rng.normal(size=ITEMS)[item] + rng.normal(size=ROWS)
    events: dict[str, npt.NDArray[Any]] = {"user": user, "item": item, "y": y}
    study = 'outcomes = ["y"]\n'
    if slice_of:
        events, study = events | {"drawn": drawn}, study + 'randomised = "drawn"\n'
    if logged:
        events, study = events | {"p": share[np.arange(ROWS), item]}, study + 'propensity = "p"\n'
    graph = quoted(unmeasured=["mood -> items.t, events.y"])
    return World({"age": rng.normal(size=USERS)}, {"t": t, "w": w}, events, {EDGE: truth}, study, graph)


def undeclared(seed: int, *, strength: float = 1.0) -> World:
    """No effect, and a hidden cause `strength` times as strong as the strongest of three measured confounders."""
    rng = np.random.default_rng([seed, 4])
    w, worth = rng.normal(size=(3, ITEMS)), rng.normal(size=ITEMS)
    pull = np.array([0.6, 0.3, 0.2])
    t = pull @ w + 0.6 * strength * worth + rng.normal(size=ITEMS)
    y = 0.5 * pull @ w + 0.3 * strength * worth
    return log(rng, 0.0, {"t": t} | {f"w{j}": column for j, column in enumerate(w)}, y + 0.2 * rng.normal(size=ITEMS))


KINDS: dict[str, Callable[[int], World]] = {
    "confounder, mediator, collider, child, M-bias: declared": post_treatment,
    "  the same columns, nothing declared": undeclared_structure,
    "declared hidden cause of the item": hidden,
    "  with an instrument": by_instrument,
    "  with an instrument, no effect": lambda seed: by_instrument(seed, 0.0),
    "  through the front door": by_front_door,
    "  through the front door, no effect": lambda seed: by_front_door(seed, 0.0),
    "declared hidden cause of the policy": policy,
    "  with a randomised slice": lambda seed: policy(seed, slice_of=0.3),
    "  with a randomised slice, no effect": lambda seed: policy(seed, slice_of=0.3, truth=0.0),
    "  with logged propensities": lambda seed: policy(seed, logged=True),
    "  with logged propensities, no effect": lambda seed: policy(seed, logged=True, truth=0.0),
    "undeclared hidden cause, half as strong as the strongest column": lambda seed: undeclared(seed, strength=0.5),
    "undeclared hidden cause, as strong": undeclared,
}


def naive(world: World) -> float:
    """Regress the outcome on the cause and all columns of the items, rows independent; bias in standard errors."""
    item, y = world.events["item"], np.asarray(world.events["y"], np.float64)
    names = ["t", *(name for name in world.items if name != "t")]
    X = np.column_stack([*(np.asarray(world.items[name])[item] for name in names), np.ones(len(y))]).astype(np.float64)
    bread = np.linalg.inv(X.T @ X)
    b = bread @ (X.T @ y)
    se = float(np.sqrt(bread[0, 0] * np.sum((y - X @ b) ** 2) / (len(y) - X.shape[1])))
    return (float(b[0]) - world.truth[EDGE]) / se


def run(kind: str, seeds: int) -> dict[str, Any]:
    """Judge one kind of log on several seeds."""
    verdicts: Counter[str] = Counter()
    z, plain, failed = [], [], 0
    for seed in range(1, seeds + 1):
        world = KINDS[kind](seed)
        estimate: Estimate = world.judged()[EDGE]
        hypothesis = Hypothesis(Edge.parse(EDGE))
        (judgement,) = judge([estimate], [hypothesis], fdr=0.05, smallest_effect=0.0)
        verdicts[judgement.verdict] += 1
        failed += any(c.name == "sensitivity" and c.passed is False for c in estimate.checks)
        plain.append(naive(world))
        if estimate.se > 0:
            z.append((estimate.estimate - world.truth[EDGE]) / estimate.se)
    return {
        "kind": kind,
        "seeds": seeds,
        "verdicts": dict(verdicts),
        "bias": float(np.mean(z)) if z else float("nan"),
        "worst": float(np.max(np.abs(z))) if z else float("nan"),
        "covered": float(np.mean(np.abs(z) <= 1.96)) if z else float("nan"),
        "naive_bias": float(np.mean(plain)),
        "fails_sensitivity": failed / seeds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="logs of each kind (default 40)")
    parser.add_argument("--quick", action="store_true", help="five logs of each kind")
    options = parser.parse_args()
    seeds = 5 if options.quick else options.seeds
    print(describe_machine("numpy", "dowhy", "networkx"))
    print(f"{seeds} logs of each kind: {USERS} users, {ITEMS} items, {ROWS:,} exposures\n")
    print(f"{'':66s} {'bias (se)':>9s} {'covered':>8s} {'naive':>7s} {'sens. fails':>11s}  verdicts")
    found = []
    for kind in KINDS:
        start = time.perf_counter()
        row = run(kind, seeds)
        found.append(row)
        told = ", ".join(f"{name} {count}" for name, count in sorted(row["verdicts"].items()))
        bias = "-" if np.isnan(row["bias"]) else f"{row['bias']:+.2f}"
        covered = "-" if np.isnan(row["covered"]) else f"{row['covered']:.2f}"
        print(
            f"{kind:66s} {bias:>9s} {covered:>8s} {row['naive_bias']:+7.1f} {row['fails_sensitivity']:11.2f}  {told}"
            f"  ({time.perf_counter() - start:.0f} s)",
            flush=True,
        )
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / ("identification-quick.json" if options.quick else "identification.json")
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\neach kind: {target}")


if __name__ == "__main__":
    main()
