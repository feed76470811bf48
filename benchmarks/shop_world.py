"""How often is the judge right? Simulated shops with known effects, judged by the program as a user would run it.

`python benchmarks/shop_world.py --seeds 20` draws one shop a seed (3,000 users, 300 items, 120,000 exposures; 70
contrasts, 23 of them causal), runs `whyrank run SHOP --source exhaustive` on it, and compares the verdicts with the
truth. Beside it stands what is often done instead: one regression per attribute, rows taken as independent, the same
Benjamini-Hochberg level.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from machine import describe_machine
from scipy import stats

import whyrank
from whyrank.datasets.world import World, WorldSpec, simulate, write_world

FDR = 0.05
RESULTS = Path(__file__).parent.parent / "bench-results"


@dataclass(frozen=True)
class Score:
    """One shop.

    Attributes
    ----------
    seed : of the shop.
    causal, tested : contrasts that have an effect, and contrasts that were judged.
    true, false, wrong_sign : validated contrasts with an effect (of that sign), with none, with one of the other sign.
    refuted, inconclusive, unidentifiable : other verdicts.
    covered, intervals : 95 % intervals that hold the true effect, and intervals there are.
    naive_true, naive_false : what one regression per attribute finds.
    seconds, peak_mib : the whole command, reading the tables and writing the report included.
    """

    seed: int
    causal: int
    tested: int
    true: int
    false: int
    wrong_sign: int
    refuted: int
    inconclusive: int
    unidentifiable: int
    covered: int
    intervals: int
    naive_true: int
    naive_false: int
    seconds: float
    peak_mib: float


def score(spec: WorldSpec) -> Score:
    """Draw one shop, have it judged, and compare."""
    world = simulate(spec)
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        write_world(world, folder)
        seconds, peak = run(folder)
        with whyrank.open(folder) as study:
            verdicts = study.verdicts()
    truth = world.truth[world.truth["modifier"] == ""].set_index("edge")
    judged = verdicts.set_index("edge").join(
        truth[["estimate", "causal"]].rename(columns={"estimate": "estimate_true"})
    )
    if judged["causal"].isna().any():
        raise SystemExit(f"seed {spec.seed}: verdicts on contrasts that the truth doesn't have")
    validated, causal = judged["verdict"] == "validated", judged["causal"] == 1
    right = np.sign(judged["estimate"]) == np.sign(judged["estimate_true"])
    bounded = judged["ci_low"].notna()
    inside = (judged["ci_low"] <= judged["estimate_true"]) & (judged["estimate_true"] <= judged["ci_high"])
    found = naive_finds(world)
    really = truth.loc[found.index, "causal"] == 1
    return Score(
        seed=spec.seed,
        causal=int((truth["causal"] == 1).sum()),
        tested=len(judged),
        true=int((validated & causal & right).sum()),
        false=int((validated & ~causal).sum()),
        wrong_sign=int((validated & causal & ~right).sum()),
        refuted=int((judged["verdict"] == "refuted").sum()),
        inconclusive=int((judged["verdict"] == "inconclusive").sum()),
        unidentifiable=int((judged["verdict"] == "unidentifiable").sum()),
        covered=int((inside & bounded).sum()),
        intervals=int(bounded.sum()),
        naive_true=int((found & really).sum()),
        naive_false=int((found & ~really).sum()),
        seconds=seconds,
        peak_mib=peak,
    )


def run(folder: str) -> tuple[float, float]:
    """Run the command in a process of its own; returns seconds and peak memory in MiB."""
    code = "from whyrank.cli import main; main()"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", folder, "--source", "exhaustive"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"whyrank run ended with status {process.returncode}:\n{said.decode(errors='replace')}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return seconds, usage.ru_maxrss / unit


def naive_finds(world: World) -> pd.Series[bool]:
    """Whether each contrast is found by regressing the outcome on its attribute alone, with independent rows."""
    y = world.events["purchase"].to_numpy(dtype=np.float64)
    rows = {key: world.events[f"{key}_id"].cat.codes.to_numpy() for key in ("user", "item")}
    tables = {"users": (world.users, rows["user"]), "items": (world.items, rows["item"])}
    truth = world.truth[world.truth["modifier"] == ""]
    p: dict[str, float] = {}
    for cause, group in truth.groupby("cause", sort=False):
        table, column = str(cause).split(".", 1)
        if table == "events":
            values = world.events[column]
        else:
            frame, where = tables[table]
            values = frame[column].take(where)
        columns = [
            values.to_numpy(dtype=np.float64) if level == "" else values.astype(str).to_numpy() == level
            for level in group["level"]
        ]
        X = np.column_stack([np.ones(len(y)), *columns]).astype(np.float64)
        bread = np.linalg.inv(X.T @ X)
        beta = bread @ (X.T @ y)
        se = np.sqrt(np.diag(bread) * np.sum((y - X @ beta) ** 2) / (len(y) - X.shape[1]))
        p |= dict(zip(group["edge"], 2 * stats.norm.sf(np.abs(beta / se)[1:]), strict=True))
    found = stats.false_discovery_control(list(p.values())) <= FDR
    return pd.Series(found, index=list(p), dtype=bool)


def show(scores: list[Score]) -> None:
    """Print the sums."""

    def total(name: str) -> float:
        return float(sum(getattr(s, name) for s in scores))

    shops = len(scores)
    validated = total("true") + total("false") + total("wrong_sign")
    naive = total("naive_true") + total("naive_false")
    rows = [
        ("", "whyrank", "one regression per attribute"),
        ("precision", _share(total("true"), validated), _share(total("naive_true"), naive)),
        ("recall", _share(total("true"), total("causal")), _share(total("naive_true"), total("causal"))),
        ("false validations per shop", f"{total('false') / shops:.2f}", f"{total('naive_false') / shops:.2f}"),
        ("  most in one shop", str(max(s.false for s in scores)), str(max(s.naive_false for s in scores))),
        ("validated with the wrong sign", f"{total('wrong_sign'):.0f}", ""),
        ("95 % intervals that hold the truth", _share(total("covered"), total("intervals")), ""),
        ("seconds per shop, median", f"{np.median([s.seconds for s in scores]):.1f}", ""),
        ("peak memory, most", f"{max(s.peak_mib for s in scores):.0f} MiB", ""),
    ]
    for name, mine, other in rows:
        print(f"{name:36s} {mine:>22s} {other:>30s}")


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.3f} ({part:.0f}/{whole:.0f})" if whole else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of shops (default 10)")
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--users", type=int, default=3_000)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--events", type=int, default=120_000)
    parser.add_argument("--null", action="store_true", help="shops in which no attribute does anything")
    parser.add_argument("--nonlinear", action="store_true", help="curved effects and a logistic link")
    options = parser.parse_args()
    print(describe_machine("numpy", "pandas", "lightgbm", "dowhy", "econml"))
    print(f"{options.seeds} shops: {options.users:,} users, {options.items:,} items, {options.events:,} exposures\n")
    scores = []
    for seed in range(options.first, options.first + options.seeds):
        spec = WorldSpec(
            n_users=options.users,
            n_items=options.items,
            n_events=options.events,
            null=options.null,
            nonlinear=options.nonlinear,
            seed=seed,
        )
        s = score(spec)
        scores.append(s)
        print(
            f"seed {seed}: {s.true} of {s.causal} found, {s.false} false, {s.naive_false} false by regressions, "
            f"{s.covered}/{s.intervals} covered, {s.seconds:.1f} s, {s.peak_mib:.0f} MiB",
            flush=True,
        )
    print()
    show(scores)
    RESULTS.mkdir(exist_ok=True)
    kind = "null" if options.null else "nonlinear" if options.nonlinear else "linear"
    target = RESULTS / f"shop-world-{kind}-{options.events}.json"
    target.write_text(json.dumps([asdict(s) for s in scores], indent=1) + "\n", encoding="utf-8")
    print(f"\neach shop: {target}")


if __name__ == "__main__":
    main()
