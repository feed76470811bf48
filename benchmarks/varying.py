"""Effects by user against the truth: how far off, how often the interval holds it, how often a difference is found.

`python benchmarks/varying.py` draws studies in which the effect of an attribute is the same for all users (none),
follows two of their attributes (linear), or flips sign where one of them passes a threshold (step). The cause is binary
and offered more to some users and with some items than others (offer), or numeric and an item's, dearer where quality
is higher (price). Users, and items, differ beyond their attributes, and rows repeat both. `--quick` draws three.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from machine import describe_machine

from whyrank.datasets.load import load_study
from whyrank.datasets.study_data import StudyData
from whyrank.effects import varying_effects
from whyrank.errors import WhyRankWarning

Floats = npt.NDArray[np.float64]

RESULTS = Path(__file__).parent.parent / "bench-results"
WORLDS = ("none", "linear", "step")
CAUSES = {"offer": "events.offer", "price": "items.price"}
STUDY = """
[users]
path = "users.csv"
key = "user_id"
[items]
path = "items.csv"
key = "item_id"
[events]
path = "events.csv"
user = "user_id"
item = "item_id"
outcomes = ["spent"]
context = ["offer"]
"""


def draw(world: str, cause: str, seed: int, *, users: int, items: int, rows: int) -> tuple[StudyData, Floats]:
    """Return a study and the true effect of `cause` for each of its users."""
    rng = np.random.default_rng([seed, WORLDS.index(world), list(CAUSES).index(cause)])
    user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
    income, age, new = rng.normal(size=users), rng.normal(size=users), (rng.random(users) < 0.4).astype(float)
    pets, region = (rng.random(users) < 0.5).astype(float), rng.choice(["north", "south", "west"], users)
    quality = rng.normal(size=items)
    price = 0.6 * quality + 0.8 * rng.normal(size=items)
    pull = 0.7 * income[user] + 0.5 * quality[item] + 0.3 * new[user]
    offer = (rng.random(rows) < 1 / (1 + np.exp(-pull))).astype(float)
    theta = {
        "none": np.full(users, 0.3),
        "linear": 0.3 + 0.2 * income - 0.2 * (new - 0.4),
        "step": np.where(income > 0.3, 0.5, -0.3),
    }[world]
    moved = offer if cause == "offer" else price[item]
    still = 0.3 * price[item] if cause == "offer" else 0.3 * offer
    spent = theta[user] * moved + still + 0.5 * np.tanh(income[user]) + 0.3 * quality[item] ** 2 + 0.2 * age[user]
    spent += 0.3 * rng.normal(size=users)[user] + 0.2 * rng.normal(size=items)[item] + rng.normal(size=rows)
    tables = {
        "users": {"income": income, "age": age, "new": new.astype(int), "pets": pets.astype(int), "region": region},
        "items": {"quality": quality, "price": price},
        "events": {"offer": offer.astype(int), "spent": spent},
    }
    ids = {"users": [f"u{k:05d}" for k in range(users)], "items": [f"i{k:05d}" for k in range(items)]}
    with tempfile.TemporaryDirectory() as folder:
        for name, columns in tables.items():
            keys: dict[str, Any] = {f"{name[:-1]}_id": ids[name]} if name in ids else {}
            if name == "events":
                keys = {"user_id": np.array(ids["users"])[user], "item_id": np.array(ids["items"])[item]}
            pd.DataFrame(keys | columns).to_csv(Path(folder) / f"{name}.csv", index=False)
        (Path(folder) / "whyrank.toml").write_text(STUDY, encoding="utf-8")
        return load_study(Path(folder) / "whyrank.toml"), theta


def measure(data: StudyData, cause: str, theta: Floats) -> dict[str, Any]:
    """Return what one study's effects by user are worth."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WhyRankWarning)
        found = varying_effects(data, f"{CAUSES[cause]} -> events.spent")[0]
    seconds = time.perf_counter() - start
    users = found.users
    inside = (users["ci_low"] <= theta) & (theta <= users["ci_high"])
    return {
        "chosen": found.chosen,
        "rmse": float(np.sqrt(np.mean((users["effect"] - theta) ** 2))),
        "rmse_constant": float(np.sqrt(np.mean((found.estimate - theta) ** 2))),
        "covered": float(inside.mean()),
        "calibration": found.test.calibration.p_value,
        "autoc": found.test.autoc.p_value,
        "qini": found.test.qini.p_value,
        "proposed": found.proposals,
        "seconds": seconds,
    }


def main() -> None:
    """Draw, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100, help="studies of each kind")
    parser.add_argument("--users", type=int, default=1_500)
    parser.add_argument("--items", type=int, default=150)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--quick", action="store_true", help="three studies of each kind")
    options = parser.parse_args()
    draws = 3 if options.quick else options.draws
    print(describe_machine("econml", "lightgbm"))
    print(f"{draws} studies of each kind: {options.users} users, {options.items} items, {options.rows} exposures\n")
    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    for cause in CAUSES:
        for world in WORLDS:
            for seed in range(draws):
                size = {"users": options.users, "items": options.items, "rows": options.rows}
                data, theta = draw(world, cause, seed, **size)
                rows.append({"cause": cause, "world": world, "seed": seed, **measure(data, cause, theta)})
            print(f"{cause}, {world}: {time.perf_counter() - start:.0f} s", flush=True)
    frame = pd.DataFrame(rows)
    heads = ("RMSE", "of the average", "95 % holds", "calibration", "AUTOC", "Qini", "seconds")
    print(f"\n{'':16s}" + "".join(f"{head:>16s}" for head in heads) + "   second stage")
    for named, part in frame.groupby(frame["cause"] + ", " + frame["world"], sort=False):
        chosen = ", ".join(f"{name} {count}" for name, count in Counter(part["chosen"]).most_common())
        cells = [f"{part['rmse'].mean():.3f}", f"{part['rmse_constant'].mean():.3f}", f"{part['covered'].mean():.3f}"]
        cells += [f"{(part[test] < 0.05).mean():.2f}" for test in ("calibration", "autoc", "qini")]
        cells.append(f"{part['seconds'].median():.1f}")
        print(f"{named!s:16s}" + "".join(f"{cell:>16s}" for cell in cells) + f"   {chosen}")
    print(
        "\ncalibration, AUTOC, Qini: share of studies with p < 0.05, which is the test's size where the world is none"
    )
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"varying-{options.rows}{'-quick' if options.quick else ''}.json"
    target.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"each study: {target}")


if __name__ == "__main__":
    main()
