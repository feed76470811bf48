"""How often is an attribute that does nothing called an effect? Few items, many exposures, items that differ.

`python benchmarks/clusters.py` draws logs of 60 items, 2,000 users and 100,000 exposures in which items and users
differ strongly, deals attributes to the items at random (binary ones carried by a half and a fifth of them, numeric
ones), and counts how often each is rejected at 5 %: by the judge, by Student's t with one less than the number of
items as degrees of freedom, and by a comparison that takes exposures as independent. Half of the logs show all items
alike, half show some far more often than others. With `--power` the attributes have effects.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from machine import describe_machine
from scipy import stats

from whyrank.datasets.load import load_study
from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.estimators.estimate import Estimate
from whyrank.estimators.estimating import estimate_edges

Floats = npt.NDArray[np.float64]

RESULTS = Path(__file__).parent.parent / "bench-results"
CAUSES = ("half", "fifth", "weight", "length")
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
outcomes = ["purchase"]
[validation]
audit = false
"""


@dataclass(frozen=True)
class Log:
    """One log: exposures of items that differ, and the tables without attributes of items."""

    study: StudyData
    item: npt.NDArray[np.int64]
    propensity: Floats
    skew: float


def draw_log(seed: int, *, users: int, items: int, events: int, skew: float, columns: int = 0) -> Log:
    """Draw who was shown what, and how likely each exposure is to be bought; `skew` is the Zipf exponent of items."""
    rng = np.random.default_rng([seed, 1])
    share = 1 / np.arange(1, items + 1) ** skew
    item = rng.choice(items, events, p=rng.permutation(share / share.sum()))
    user = rng.integers(0, users, events)
    tables = {
        "users": pd.DataFrame({"user_id": np.arange(users), "age": rng.normal(size=users).round(3)}),
        "items": pd.DataFrame({"item_id": np.arange(items)} | attributes(rng, items, columns)),
        "events": pd.DataFrame({"user_id": user, "item_id": item, "purchase": rng.integers(0, 2, events)}),
    }
    with tempfile.TemporaryDirectory(prefix="log-") as folder:
        for name, frame in tables.items():
            frame.to_csv(Path(folder, f"{name}.csv"), index=False)
        Path(folder, "whyrank.toml").write_text(STUDY, encoding="utf-8")
        study = load_study(Path(folder))
    item, user = (study.events[key].to_numpy(dtype=np.int64) for key in ("item", "user"))  # in the study's own order
    score = -1.5 + rng.normal(size=items)[item] + 0.7 * rng.normal(size=users)[user]
    return Log(study, item, score, skew)


def attributes(rng: np.random.Generator, items: int, columns: int) -> dict[str, Floats]:
    """Deal attributes to items: whatever items are worth has no part in it."""
    order = rng.permutation(items)
    other = rng.permutation(items)
    return {
        "half": (order < items // 2).astype(np.float64),
        "fifth": (other < items // 5).astype(np.float64),
        "weight": rng.normal(size=items),
        "length": rng.lognormal(sigma=0.5, size=items),
    } | {f"other{k}": rng.normal(size=items) for k in range(columns)}


def judged(log: Log, rng: np.random.Generator, size: float) -> tuple[list[Estimate], dict[str, Floats]]:
    """Deal new attributes, draw purchases, and have the judge estimate them."""
    others = sum(name.startswith("items.other") for name in log.study.attributes)
    dealt = attributes(rng, len(log.study.items), others)
    score = log.propensity + sum(size * _standard(dealt[cause])[log.item] for cause in CAUSES)
    bought = (rng.random(len(score)) < 1 / (1 + np.exp(-score))).astype(np.float64)
    events = log.study.events.assign(purchase=bought)
    study = replace(log.study, items=log.study.items.assign(**dealt), events=events)
    edges = [Edge(f"items.{cause}", "events.purchase") for cause in CAUSES]
    found = [estimate for _, estimates in estimate_edges(study, edges) for estimate in estimates]
    return found, {cause: values[log.item] for cause, values in dealt.items()} | {"purchase": bought}


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std())


def independent(values: Floats, bought: Floats) -> float:
    """Return the p-value of a comparison that takes every exposure as independent."""
    return float(stats.pearsonr(values, bought).pvalue)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--logs", type=int, default=16, help="number of logs, every other one skewed (default 16)")
    parser.add_argument(
        "--deals", type=int, default=10, help="times that four attributes are dealt, a log (default 10)"
    )
    parser.add_argument("--columns", type=int, default=0, help="other attributes of items, adjusted for (default 0)")
    parser.add_argument("--skew", type=float, default=0.8, help="Zipf exponent of the skewed logs (default 0.8)")
    parser.add_argument("--power", type=float, default=0.0, help="effect of one standard deviation on the log-odds")
    parser.add_argument("--quick", action="store_true", help="two small logs, ten deals each: a trial run")
    options = parser.parse_args()
    if options.quick:
        options.logs, options.deals, options.users, options.events = 2, 10, 300, 8_000
    print(describe_machine("numpy", "lightgbm"))
    print(
        f"{options.items} items, {options.users:,} users, {options.events:,} exposures, "
        f"{options.columns} other attributes, effect {options.power:g}\n"
    )
    start = time.perf_counter()
    rows: list[dict[str, object]] = []
    for number in range(1, options.logs + 1):
        skew = 0.0 if number % 2 else options.skew
        log = draw_log(
            number,
            users=options.users,
            items=options.items,
            events=options.events,
            skew=skew,
            columns=options.columns,
        )
        rng = np.random.default_rng([number, 2])
        for _ in range(options.deals):
            found, shown = judged(log, rng, options.power)
            for estimate in found:
                cause = estimate.contrast.edge.cause.split(".", 1)[1]
                t = abs(estimate.estimate / estimate.se)
                rows.append(
                    {
                        "log": number,
                        "skew": skew,
                        "cause": cause,
                        "judge": estimate.p_value < 0.05,
                        "student": 2 * stats.t.sf(t, options.items - 1) < 0.05,
                        "independent": independent(shown[cause], shown["purchase"]) < 0.05,
                        "inference": estimate.inference,
                    }
                )
        print(f"log {number}: {len(rows)} attributes, {time.perf_counter() - start:.0f} s", flush=True)
    frame = pd.DataFrame(rows)
    print(f"\nrejected at 5 % of {len(frame)} attributes\n")
    named = {"judge": "whyrank", "student": f"t, {options.items - 1} df", "independent": "exposures independent"}
    print(f"{'':28s}" + "".join(f"{name:>24s}" for name in named.values()))
    for what, part in [("all", frame), *_parts(frame)]:
        cells = (_rate(part[column].to_numpy(dtype=bool)) for column in named)
        print(f"{what:28s}" + "".join(f"{cell:>24s}" for cell in cells))
    print(f"\ninference: {dict(Counter(frame['inference']))}; {time.perf_counter() - start:.0f} s")
    RESULTS.mkdir(exist_ok=True)
    target = (
        RESULTS
        / f"clusters-{options.items}-{options.columns}-{options.power:g}{'-quick' if options.quick else ''}.json"
    )
    target.write_text(frame.to_json(orient="records", indent=1) + "\n", encoding="utf-8")
    print(f"each attribute: {target}")


def _parts(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    parts = [(f"skew {skew:g}", part) for skew, part in frame.groupby("skew")]
    return parts + [(f"items.{cause}", frame[frame["cause"] == cause]) for cause in CAUSES]


def _rate(found: npt.NDArray[np.bool_]) -> str:
    """Write a share with its Monte Carlo error."""
    share = float(found.mean())
    return f"{share:.3f} ± {np.sqrt(share * (1 - share) / len(found)):.3f}"


if __name__ == "__main__":
    main()
