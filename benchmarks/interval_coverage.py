"""Do 95 % intervals hold the truth 95 times in a hundred, where confounding is measured but follows no line?

`python benchmarks/interval_coverage.py` draws small logs in which cause and outcome both follow squares, waves, steps
and a product of the other columns, at three places where a cause may live: the exposure (600 users, 300 items), the
item (400 of them) and the user (one row each). It has a binary, a categorical and a numeric cause judged, and counts
how often the interval holds the true effect. Beside it stands the bias in standard deviations of the estimate, with
that of the unadjusted contrast.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from machine import describe_machine

from whyrank.edge import Edge
from whyrank.estimators.estimating import estimate_edges

Floats = npt.NDArray[np.float64]
World = tuple[Any, str, dict[tuple[str, str], float]]

RESULTS = Path(__file__).parent.parent / "bench-results"
EFFECTS = {"member": 0.2, "b": 0.25, "c": -0.1, "delay": 0.15}


def load_lab() -> Any:
    """Return the workshop of the tests, which makes studies in memory."""
    path = Path(__file__).parent.parent / "tests" / "estimators" / "conftest.py"
    spec = spec_from_file_location("study_lab", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["study_lab"] = module
    spec.loader.exec_module(module)
    return module.Lab()


LAB = load_lab()


def causes(rng: np.random.Generator, s: Floats) -> tuple[Floats, npt.NDArray[np.str_], Floats]:
    """Draw a binary, a categorical and a numeric cause that follow a score."""
    member = (rng.random(len(s)) < 1 / (1 + np.exp(-s))).astype(np.float64)
    odds = np.exp(np.column_stack([0 * s, 0.7 * s, 0.2 - 0.6 * s]))
    place = (rng.random(len(s))[:, None] > (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)).sum(axis=1)
    return member, np.array(["a", "b", "c"])[np.minimum(place, 2)], s + rng.normal(size=len(s))


def worth(member: Floats, brand: npt.NDArray[np.str_], delay: Floats) -> Floats:
    """Return what the causes do to the outcome."""
    levels = EFFECTS["b"] * (brand == "b") + EFFECTS["c"] * (brand == "c")
    return np.asarray(EFFECTS["member"] * member + levels + EFFECTS["delay"] * delay)


def columns(rng: np.random.Generator, n: int) -> tuple[dict[str, Any], Floats, Floats]:
    """Draw confounders, the score that causes follow, and what they do to the outcome themselves."""
    age, income, x = rng.normal(size=n), rng.exponential(size=n), rng.uniform(-2, 2, n)
    region = rng.choice(["north", "south", "west"], n)
    north, rich = region == "north", np.minimum(income, 2)
    score = 0.4 * (age**2 - 1) + 0.6 * np.sin(2 * x) + 0.4 * age * x + 0.3 * north + 0.3 * rich - 0.3
    direct = 0.5 * (age**2 - 1) + 0.5 * np.sin(2 * x) + 0.3 * age * x + 0.3 * north - 0.4 * rich
    return {"age": age, "income": income, "x": x, "region": list(region)}, score, direct


def truth(table: str) -> dict[tuple[str, str], float]:
    """Return the effects by cause and level."""
    return {
        (f"{table}.member", ""): EFFECTS["member"],
        (f"{table}.brand", "b"): EFFECTS["b"],
        (f"{table}.brand", "c"): EFFECTS["c"],
        (f"{table}.delay", ""): EFFECTS["delay"],
    }


def at_users(seed: int, n: int = 4_000) -> World:
    """One row a user."""
    rng = np.random.default_rng([seed, 1])
    made, score, direct = columns(rng, n)
    member, brand, delay = causes(rng, score)
    y = direct + worth(member, brand, delay) + 0.3 * (member - 0.5) * made["age"] + rng.normal(size=n)
    made |= {"member": member, "brand": list(brand), "delay": delay, "y": y}
    events = {"user": np.arange(n), "item": np.zeros(n, int), "seen": np.arange(n) % 2}
    reference = {"users.brand": "a"}
    data = LAB.study(made, {}, events, outcomes=("seen",), n_items=1, reference=reference, seed=seed)
    return data, "users.y", truth("users")


def at_items(seed: int, users: int = 500, items: int = 400, n: int = 8_000) -> World:
    """Attributes of items, each of which is shown twenty times and has a worth of its own."""
    rng = np.random.default_rng([seed, 2])
    made, score, direct = columns(rng, items)
    member, brand, delay = causes(rng, score)
    value = direct + worth(member, brand, delay) + 0.3 * rng.normal(size=items)
    age, thirst = rng.normal(size=users), 0.3 * rng.normal(size=users)
    user, item = rng.integers(0, users, n), rng.integers(0, items, n)
    y = value[item] + 0.3 * member[item] * age[user] + 0.3 * age[user] + thirst[user] + rng.normal(size=n)
    made |= {"member": member, "brand": list(brand), "delay": delay}
    events = {"user": user, "item": item, "y": y}
    data = LAB.study({"age": age}, made, events, n_users=users, reference={"items.brand": "a"}, seed=seed)
    return data, "events.y", truth("items")


def at_exposures(seed: int, users: int = 600, items: int = 300, n: int = 6_000) -> World:
    """Context that follows columns of user, item and exposure, one of them with another table's."""
    rng = np.random.default_rng([seed, 3])
    age, price, fame = rng.normal(size=users), rng.normal(size=items), rng.exponential(size=items)
    region = rng.choice(["north", "south", "west"], users)
    thirst, value = 0.3 * rng.normal(size=users), 0.3 * rng.normal(size=items)
    user, item, hour = rng.integers(0, users, n), rng.integers(0, items, n), rng.uniform(0, 24, n)
    wave, north = np.cos(hour / 12 * np.pi), region[user] == "north"
    square, known = age[user] ** 2 - 1, np.minimum(fame[item], 2)
    score = 0.4 * square + 0.5 * wave + 0.5 * np.sin(2 * price[item]) + 0.3 * north + 0.3 * known - 0.3
    score = score + 0.3 * age[user] * price[item]
    member, brand, delay = causes(rng, score)
    y = 0.5 * square + 0.6 * wave + 0.5 * np.sin(2 * price[item]) + 0.3 * north - 0.4 * known
    y = y + 0.3 * age[user] * price[item] + thirst[user] + value[item] + worth(member, brand, delay)
    y = y + rng.normal(size=n)
    data = LAB.study(
        {"age": age, "region": list(region)},
        {"price": price, "fame": fame},
        {"user": user, "item": item, "y": y, "hour": hour, "member": member, "brand": list(brand), "delay": delay},
        n_users=users,
        n_items=items,
        reference={"events.brand": "a"},
        seed=seed,
    )
    return data, "events.y", truth("events")


PLACES: dict[str, Callable[[int], World]] = {"user": at_users, "item": at_items, "exposure": at_exposures}


def replicate(place: str, seed: int) -> list[dict[str, Any]]:
    """Draw one log and have its causes judged; returns a row a contrast."""
    data, effect, known = PLACES[place](seed)
    rows = []
    for _, found in estimate_edges(data, [Edge(cause, effect) for cause in sorted({cause for cause, _ in known})]):
        for e in found:
            level = e.contrast.level if e.contrast.bracket else ""
            true = known[e.contrast.edge.cause, level]
            rows.append(
                {
                    "place": place,
                    "cause": e.contrast.edge.cause.split(".")[1] + (f"[{level}]" if level else ""),
                    "seed": seed,
                    "error": e.estimate - true,
                    "se": e.se,
                    "covered": bool(e.ci_low <= true <= e.ci_high),
                    "naive": e.naive - true,
                    "population": e.population,
                }
            )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print one line a cause."""
    heads = f"{'place':10s}{'cause':10s}{'logs':>6s}{'covered':>9s}{'± s.e.':>8s}{'bias, sd':>10s}"
    print(f"{heads}{'naive bias, sd':>16s}{'se / sd':>9s}{'overlap only':>14s}")
    for place, cause in dict.fromkeys((r["place"], r["cause"]) for r in rows):
        mine = [r for r in rows if (r["place"], r["cause"]) == (place, cause)]
        error = np.array([r["error"] for r in mine])
        spread, covered = float(error.std()), float(np.mean([r["covered"] for r in mine]))
        print(
            f"{place:10s}{cause:10s}{len(mine):6d}{covered:9.3f}{np.sqrt(covered * (1 - covered) / len(mine)):8.3f}"
            f"{error.mean() / spread:+10.2f}{np.mean([r['naive'] for r in mine]) / spread:+16.1f}"
            f"{np.mean([r['se'] for r in mine]) / spread:9.2f}"
            f"{np.mean([r['population'] == 'overlap' for r in mine]):14.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=200, help="logs at each place (default 200)")
    parser.add_argument("--quick", action="store_true", help="20 logs at each place")
    parser.add_argument("--only", choices=tuple(PLACES), action="append", help="not all three places")
    options = parser.parse_args()
    print(describe_machine("numpy", "lightgbm"))
    rows: list[dict[str, Any]] = []
    for place in options.only or PLACES:
        start, logs = time.perf_counter(), 20 if options.quick else options.logs
        for seed in range(logs):
            rows.extend(replicate(place, seed))
            if (seed + 1) % 20 == 0:
                print(f"  {place}: {seed + 1} logs, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        print(f"{place}: {(time.perf_counter() - start) / logs:.2f} s a log")
    print()
    show(rows)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "interval-coverage.json"
    target.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"\neach estimate: {target}")


if __name__ == "__main__":
    main()
