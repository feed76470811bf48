"""How fast is the judge's arithmetic? Many edges at once, beside loops over DoWhy, EconML and plain numpy.

`python benchmarks/speed.py` runs everything on one thread, side by side, in about five minutes on a quiet machine:
200 edges (20 causes, 10 outcomes) on 20,000 rows with 10 confounders and four refuters of 100 simulations each; the
same with LightGBM, with 200 distinct adjustment sets, one binary edge on 1,000,000 rows; growth in edges and rows; and
the program itself on logs. Loops are measured on some edges, some on few simulations, and extrapolated: the table says
where. `--only NAME` picks a part, `--quick` shrinks all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from machine import describe_machine
from speed_growth import Grown, exponent, grow_in_a_process, make_table, write_parquet
from speed_log import judge_logs
from speed_rivals import DOWHY_REFUTERS, Measured, dowhy_edge, linear_dml, numpy_edge, quiet
from threadpoolctl import threadpool_limits

from whyrank import estimate_many
from whyrank.estimators.many import effects_of_residuals

Floats = npt.NDArray[np.float64]

RESULTS = Path(__file__).parent.parent / "bench-results"
LEARNER: dict[str, Any] = {"n_estimators": 100, "num_leaves": 31, "n_jobs": 1, "verbose": -1, "random_state": 0}
WATCHED = [("t0", "y0"), ("t7", "y3"), ("t13", "y6"), ("t19", "y9")]
"""Edges on which loops are measured."""


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes
    ----------
    name, against : what was done, and what it is compared with.
    seconds, loop_seconds : ours and theirs; theirs for all edges, extrapolated as `note` says.
    wanted : the ratio that is wanted, 0 for none.
    agreement : what was compared with what, and how far apart they are.
    """

    name: str
    against: str
    seconds: float
    loop_seconds: float
    wanted: float
    note: str
    agreement: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Times faster."""
        return self.loop_seconds / self.seconds


@dataclass
class Run:
    """What the parts of one run share.

    Attributes
    ----------
    quick : whether sizes are shrunk.
    lines, growth, logs : what was found.
    """

    quick: bool
    lines: list[Line] = field(default_factory=list)
    growth: dict[str, list[Grown]] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Keep a line and show it."""
        self.lines.append(line)
        show(line)


def show(line: Line) -> None:
    """Print one comparison."""
    verdict = "" if not line.wanted else (" ok" if line.ratio >= line.wanted else " BELOW WHAT IS WANTED")
    wanted = f" (wanted {line.wanted:,.0f})" if line.wanted else ""
    print(f"{line.name}, against {line.against}")
    print(f"    {_time(line.seconds)} against {_time(line.loop_seconds)}: {line.ratio:,.0f} times{wanted}{verdict}")
    print(f"    {line.note}")
    for name, value in line.agreement.items():
        print(f"    {name}: {value:.3g}")
    print(flush=True)


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 3600 else f"{seconds / 3600:.3g} h"


def timed(call: Callable[[], pd.DataFrame], times: int) -> tuple[float, pd.DataFrame]:
    """Return the median time of some calls, the first of which doesn't count, and what they return."""
    found, took = call(), []
    for _ in range(times):
        start = time.perf_counter()
        found = call()
        took.append(time.perf_counter() - start)
    return float(np.median(took)), found


def world(quick: bool) -> tuple[pd.DataFrame, list[str], list[str], list[str]]:
    """Draw the table of 20 causes, 10 outcomes and 10 confounders."""
    table = make_table(5_000 if quick else 20_000, 20, 10, seed=0)
    w, t, y = ([str(c) for c in table if str(c).startswith(kind)] for kind in "wty")
    return table, w, t, y


def points(found: pd.DataFrame, name: str = "estimate") -> Floats:
    """Return a column at the watched edges."""
    at = found.set_index(["cause", "outcome"])[name]
    return np.array([at[edge] for edge in WATCHED])


def gap(found: pd.DataFrame, loops: list[Measured]) -> float:
    """Largest difference of estimates."""
    return float(np.max(np.abs(points(found) - [m.estimate for m in loops])))


def spread(found: pd.DataFrame, loops: list[Measured], refuter: str) -> float:
    """Our spread over theirs, pooled over the watched edges (each relative to ours)."""
    ours = points(found, f"{refuter}_sd")
    centred = [(m.drawn[refuter] - m.drawn[refuter].mean()) / o for m, o in zip(loops, ours, strict=True)]
    variance = np.mean([np.sum(c**2) / (len(c) - 1) for c in centred])
    return float(1 / np.sqrt(variance))


def spreads(found: pd.DataFrame, loops: list[Measured], who: str) -> dict[str, float]:
    """Return the ratios of all refuters, and how far they'd be off by chance."""
    draws = sum(len(m.drawn["placebo"]) for m in loops)
    out = {f"spread of {name}, ours / {who}'s": spread(found, loops, name) for name in DOWHY_REFUTERS}
    return out | {f"  by chance, with {draws} draws, ±": float(2 / np.sqrt(2 * (draws - len(loops))))}


def linear(run: Run) -> None:
    """200 edges, linear nuisances, one adjustment set."""
    table, w, t, y = world(run.quick)
    seconds, found = timed(lambda: estimate_many(table, t, y, w), 9)
    simulations = 10 if run.quick else 100
    theirs = [dowhy_edge(table, c, o, w, simulations=simulations, seed=i) for i, (c, o) in enumerate(WATCHED)]
    edges = len(found)
    run.add(
        Line(
            f"linear, {edges} edges",
            "a loop over DoWhy",
            seconds,
            float(np.mean([m.seconds for m in theirs])) * edges,
            5_000,
            f"DoWhy: {len(WATCHED)} edges with {simulations} simulations a refuter, extrapolated to {edges} with 100",
            {"estimates, largest difference": gap(found, theirs), **spreads(found, theirs, "DoWhy")},
        )
    )
    more = 100 if run.quick else 400
    W = table[w].to_numpy()
    loops = [
        numpy_edge(table[c].to_numpy(), table[o].to_numpy(), W, simulations=more, seed=i)
        for i, (c, o) in enumerate(WATCHED)
    ]
    run.add(
        Line(
            f"linear, {edges} edges",
            "a loop of numpy refits",
            seconds,
            float(np.mean([m.seconds for m in loops])) * edges,
            250,
            f"normal equations: {len(WATCHED)} edges, {more} simulations a refuter, extrapolated to {edges} with 100",
            {"estimates, largest difference": gap(found, loops), **spreads(found, loops, "numpy")},
        )
    )
    single, again = timed(lambda: estimate_many(table, t, y, w, precision="single"), 9)
    run.add(
        Line(
            f"linear, {edges} edges, float32 scores",
            "float64 scores",
            single,
            seconds,
            0,
            "Gram matrices stay in float64",
            {
                "estimates, largest difference": float(np.max(np.abs(again["estimate"] - found["estimate"]))),
                "standard errors, largest relative difference": float(np.max(np.abs(again["se"] / found["se"] - 1))),
            },
        )
    )


def trees(run: Run) -> None:
    """200 edges, LightGBM nuisances, two folds, against DoWhy with EconML's LinearDML on the same LightGBM."""
    from econml.dml import LinearDML
    from lightgbm import LGBMRegressor

    table, w, t, y = world(run.quick)
    start = time.perf_counter()
    found = estimate_many(table, t, y, w, nuisances="lightgbm", folds=2, seed=0)
    seconds = time.perf_counter() - start
    simulations = 1 if run.quick else 4
    options = linear_dml(LEARNER, 0)
    method = "backdoor.econml.dml.LinearDML"
    theirs = [
        dowhy_edge(table, c, o, w, simulations=simulations, seed=i, method=method, method_params=options)
        for i, (c, o) in enumerate(WATCHED)
    ]
    # EconML alone on the folds that we use.
    fold = np.random.default_rng([0, 1]).permutation(len(table)) % 2
    cv = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(2)]
    same = []
    with quiet():
        for cause, outcome in WATCHED:
            learner = LinearDML(model_y=LGBMRegressor(**LEARNER), model_t=LGBMRegressor(**LEARNER), cv=cv)
            learner.fit(table[outcome].to_numpy(), table[cause].to_numpy(), X=None, W=table[w].to_numpy())
            same.append(Measured(float(np.ravel(learner.ate())[0]), 0.0))
    se = points(found, "se")
    dowhy_gap = np.abs(points(found) - [m.estimate for m in theirs]) / se
    agreement = {
        "estimates, largest difference from EconML on the same folds": gap(found, same),
        "estimates, largest difference from DoWhy with folds of its own, in standard errors": float(dowhy_gap.max()),
    }
    if simulations > 1:
        agreement |= spreads(found, theirs, "DoWhy")
    run.add(
        Line(
            f"LightGBM, {len(found)} edges",
            "a loop over DoWhy with EconML's LinearDML",
            seconds,
            float(np.mean([m.seconds for m in theirs])) * len(found),
            1_500,
            f"the same LightGBM (100 trees of 31 leaves), 2 folds; DoWhy: {len(WATCHED)} edges with {simulations} "
            f"simulations a refuter, extrapolated to {len(found)} with 100; our bootstrap adds no noise here",
            agreement,
        )
    )


def final_stage(run: Run) -> None:
    """The last stage alone, on residuals that are there already."""
    from econml.dml import LinearDML
    from lightgbm import LGBMRegressor

    table, w, t, y = world(run.quick)
    with quiet():
        learner = LinearDML(model_y=LGBMRegressor(**LEARNER), model_t=LGBMRegressor(**LEARNER), cv=2, random_state=0)
        start = time.perf_counter()
        learner.fit(table[y[0]].to_numpy(), table[t[0]].to_numpy(), W=table[w].to_numpy(), cache_values=True)
        whole = time.perf_counter() - start
        took = []
        for _ in range(5):
            start = time.perf_counter()
            learner.refit_final()
            took.append(time.perf_counter() - start)
    y_res, t_res = (np.ravel(r) for r in learner.residuals_[:2])
    one = float(np.median(took))
    run.add(
        Line(
            "EconML's last stage on cached residuals, one edge", "EconML's fit", one, whole, 0, "LinearDML.refit_final"
        )
    )
    rng = np.random.default_rng(0)
    causes = pd.DataFrame({f"t{i}": t_res + 0.1 * rng.normal(size=len(t_res)) for i in range(20)}).assign(t0=t_res)
    outcomes = pd.DataFrame({f"y{i}": y_res + 0.1 * rng.normal(size=len(y_res)) for i in range(10)}).assign(y0=y_res)
    seconds, found = timed(lambda: effects_of_residuals(causes, outcomes), 5)
    mine = float(found["estimate"].iloc[0])
    run.add(
        Line(
            "the last stage and refuters of 200 edges on given residuals",
            "EconML's last stage, 200 times",
            seconds,
            one * 200,
            0,
            "EconML's residuals; its last stage is without refuters",
            {"estimate, difference from EconML's": abs(mine - float(np.ravel(learner.ate())[0]))},
        )
    )


def distinct(run: Run) -> None:
    """200 edges, each with an adjustment set of its own."""
    table, w, t, y = world(run.quick)
    rng = np.random.default_rng(1)
    sets = {
        (c, o): sorted([*rng.choice(w, 7, replace=False), *rng.choice([x for x in t if x != c], 3, replace=False)])
        for c in t
        for o in y
    }
    seconds, found = timed(lambda: estimate_many(table, t, y, sets), 5)
    simulations = 3 if run.quick else 10
    theirs = [
        dowhy_edge(table, c, o, [str(n) for n in sets[c, o]], simulations=simulations, seed=i)
        for i, (c, o) in enumerate(WATCHED)
    ]
    run.add(
        Line(
            f"linear, {found['adjusted_for'].nunique()} distinct adjustment sets",
            "a loop over DoWhy",
            seconds,
            float(np.mean([m.seconds for m in theirs])) * len(found),
            200,
            f"DoWhy: {len(WATCHED)} edges, {simulations} simulations a refuter, extrapolated to {len(found)} with 100",
            {"estimates, largest difference": gap(found, theirs)},
        )
    )


def binary(run: Run) -> None:
    """One edge on a million rows, cause and outcome coded 0/1."""
    n = 100_000 if run.quick else 1_000_000
    table = make_table(n, 1, 1, seed=0)
    rng = np.random.default_rng(2)
    table["t0"] = (table["t0"] > 0).astype(int)
    table["y0"] = (rng.random(n) < 1 / (1 + np.exp(-0.5 * table["y0"] - 0.3 * table["t0"]))).astype(int)
    w = [str(c) for c in table if str(c).startswith("w")]
    seconds, found = timed(lambda: estimate_many(table, ["t0"], ["y0"], w), 3)
    simulations = 1 if run.quick else 2
    theirs = dowhy_edge(table, "t0", "y0", w, simulations=simulations, seed=0)
    run.add(
        Line(
            f"one binary edge on {n:,} rows",
            "DoWhy",
            seconds,
            theirs.seconds,
            500,
            f"DoWhy: {simulations} simulations a refuter, extrapolated to 100",
            {"estimate, difference": abs(float(found["estimate"].iloc[0]) - theirs.estimate)},
        )
    )


def growth_in_edges(run: Run) -> None:
    """From 100 to 10,000 edges on 20,000 rows."""
    sizes = [100, 400, 1_600] if run.quick else [100, 400, 1_600, 4_900, 10_000]
    run.growth["edges"] = [grow_in_a_process("edges", size, Path()) for size in sizes]
    _show_growth("edges", "edges (20,000 rows, 10 confounders)", run)


def growth_in_rows(run: Run) -> None:
    """From 100,000 to 10,000,000 rows of a Parquet file, 200 edges, errors clustered by user."""
    sizes = [20_000, 100_000] if run.quick else [100_000, 1_000_000, 10_000_000]
    found = []
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        for size in sizes:
            path = Path(folder) / f"rows-{size}.parquet"
            write_parquet(path, size, 20, 10, users=min(size // 20, 100_000))
            found.append(grow_in_a_process("rows", size, Path(folder)))
            path.unlink()
    run.growth["rows"] = found
    _show_growth("rows", "rows of a Parquet file (200 edges, clustered by user)", run)


def _show_growth(kind: str, title: str, run: Run) -> None:
    print(f"growth in {title}")
    most = max(p["seconds"] for p in run.growth[kind])
    for p in run.growth[kind]:
        bar = "#" * max(1, round(40 * p["seconds"] / most))
        print(f"    {p['size']:>12,.0f} {_time(p['seconds']):>9} {p['peak_mib']:>7,.0f} MiB  {bar}")
    print(f"    cost grows as {kind}^{exponent(run.growth[kind]):.2f}\n", flush=True)


def program(run: Run) -> None:
    """The program itself: `whyrank validate` on a log of users and items; larger ones: speed_log.py."""
    run.logs = judge_logs([8_000] if run.quick else [120_000])


PARTS: dict[str, Callable[[Run], None]] = {
    "linear": linear,
    "lightgbm": trees,
    "final_stage": final_stage,
    "distinct": distinct,
    "binary": binary,
    "edges": growth_in_edges,
    "rows": growth_in_rows,
    "program": program,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="NAME", help=f"of {', '.join(PARTS)}")
    options = parser.parse_args()
    machine = describe_machine("numpy", "pandas", "lightgbm", "dowhy", "econml")
    print(f"{machine}; one thread\n")
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # of processes
    run, begin = Run(options.quick), time.perf_counter()
    with threadpool_limits(limits=1):
        for name in options.only or PARTS:
            PARTS[name](run)
    print(f"{'':52}{'ours':>10}{'theirs':>10}{'times':>10}{'wanted':>9}")
    for line in run.lines:
        wanted = f"{line.wanted:,.0f}" if line.wanted else ""
        title = f"{line.name}, against {line.against}"
        print(f"{title}\n{'':52}{_time(line.seconds):>10}{_time(line.loop_seconds):>10}{line.ratio:>10,.0f}{wanted:>9}")
    print(f"\nwhole run: {time.perf_counter() - begin:.0f} s")
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / ("speed-quick.json" if options.quick else "speed.json")
    said = {
        "machine": machine,
        "lines": [asdict(line) | {"ratio": line.ratio} for line in run.lines],
        "growth": run.growth,
        "logs": run.logs,
    }
    target.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(f"all figures: {target}")


if __name__ == "__main__":
    main()
