"""Does each kind of log give the effects that are in it? Bias in standard errors, and coverage of 95 % intervals.

`python benchmarks/logs.py` simulates logs of purchases alone, logs whose policy follows a mood that nobody recorded
(with propensities, with a randomised slice, with neither), ratings that people chose to give, counts, ratings, heavy
tails, a confounder of a thousand levels, and a policy that follows what a user did before; judges them as
`whyrank validate` would, and compares with the truth. Each kind has an attribute that does something and one that does
nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from machine import describe_machine
from scipy.stats import norm

from whyrank.datasets.load import load_study
from whyrank.edge import Edge
from whyrank.estimators.estimate import Estimate
from whyrank.estimators.estimating import estimate_edges

RESULTS = Path(__file__).parent.parent / "bench-results"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A log and what is true of it: the effect of each edge."""

    users: Mapping[str, npt.NDArray[Any]]
    items: Mapping[str, npt.NDArray[Any]]
    events: Mapping[str, npt.NDArray[Any]]
    truth: dict[str, float]
    study: str = ""
    more: str = ""

    def judged(self) -> dict[str, Estimate]:
        """Write the log as a study, and return the estimate of each edge."""
        n_users, n_items = int(self.events["user"].max()) + 1, int(self.events["item"].max()) + 1
        tables = {
            "users": pd.DataFrame({"user": np.arange(max(n_users, _length(self.users)))} | dict(self.users)),
            "items": pd.DataFrame({"item": np.arange(max(n_items, _length(self.items)))} | dict(self.items)),
            "events": pd.DataFrame(dict(self.events)),
        }
        text = "".join(f'[{name}]\npath = "{name}.csv"\nkey = "{name[:-1]}"\n' for name in ("users", "items"))
        text += f'[events]\npath = "events.csv"\nuser = "user"\nitem = "item"\n{self.study}\n'
        text += f"[validation]\naudit = false\n{self.more}\n"
        with tempfile.TemporaryDirectory(prefix="log-") as folder:
            for name, frame in tables.items():
                frame.to_csv(Path(folder, f"{name}.csv"), index=False)
            Path(folder, "whyrank.toml").write_text(text, encoding="utf-8")
            data = load_study(Path(folder))
        found = estimate_edges(data, [Edge.parse(edge) for edge in self.truth])
        return {str(edge): estimates[0] for edge, estimates in found}


def _length(columns: Mapping[str, npt.NDArray[Any]]) -> int:
    return len(next(iter(columns.values()))) if columns else 0


def _coin(rng: np.random.Generator, p: Floats | float, size: int) -> Floats:
    return (rng.random(size) < p).astype(np.float64)


def _choose(rng: np.random.Generator, score: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Draw an item a row by a softmax of scores, and return it with its probability."""
    share = np.exp(score - score.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    item = np.minimum((rng.random(len(score))[:, None] > share.cumsum(axis=1)).sum(axis=1), score.shape[1] - 1)
    return item, share[np.arange(len(score)), item]


def purchases(seed: int, size: float, *, worth: float = 0.5) -> World:
    """Purchases by utility; each item has a worth of its own."""
    rng = np.random.default_rng([seed, 1])
    users, items, rows = int(500 * size), 150, int(8_000 * size)
    price = rng.normal(size=items)
    sale, tag = _coin(rng, 1 / (1 + np.exp(1.2 * price)), items), _coin(rng, 0.4, items)
    young = _coin(rng, 0.4, users)
    user = rng.integers(0, users, rows)
    own = 0.5 * sale - 0.3 * price + worth * rng.normal(size=items)
    item, _ = _choose(rng, own[None, :] + 0.6 * young[user][:, None] * sale[None, :])
    return World(
        {"young": young},
        {"sale": sale, "price": price, "tag": tag},
        {"user": user, "item": item},
        {
            "items.price -> events.purchase": -0.3,
            "items.sale -> events.purchase | users.young": 0.6,
            "items.tag -> events.purchase": 0.0,
        },
        'kind = "purchases"',
    )


def skewed_purchases(seed: int, size: float) -> World:
    """The same with items of very different worth (a standard deviation of 1 on the log-odds)."""
    return purchases(seed, size, worth=1.0)


def moody(seed: int, size: float, *, logged: bool = True, random: float = 0.0) -> World:
    """A policy that follows a mood which also moves the outcome, and which no column holds."""
    rng = np.random.default_rng([seed, 2])
    users, items, rows = int(400 * size), 120, int(16_000 * size)
    price = rng.normal(size=items)
    sale, tag = _coin(rng, 0.4, items), _coin(rng, 0.5, items)
    user, mood = rng.integers(0, users, rows), rng.normal(size=rows)
    drawn = _coin(rng, random, rows)
    push = np.where(drawn > 0, 0.0, 0.7)[:, None]
    score = push * (mood[:, None] * (sale + tag - 0.7 * price)[None, :] + 0.5 * rng.normal(size=items)[None, :])
    item, probability = _choose(rng, score)
    y = 0.4 * sale[item] - 0.2 * price[item] + 0.8 * mood + 0.2 * rng.normal(size=items)[item] + rng.normal(size=rows)
    events = {"user": user, "item": item, "y": y}
    study = 'outcomes = ["y"]\n'
    if random:
        events, study = events | {"drawn": drawn}, study + 'randomised = "drawn"\n'
    if logged:
        events, study = events | {"p": probability}, study + 'propensity = "p"\n'
    return World(
        {},
        {"sale": sale, "price": price, "tag": tag},
        events,
        {"items.sale -> events.y": 0.4, "items.tag -> events.y": 0.0},
        study,
    )


def sliced(seed: int, size: float) -> World:
    """The same policy, without propensities, with a fifth of the exposures drawn at random."""
    return moody(seed, size, logged=False, random=0.2)


def blind(seed: int, size: float) -> World:
    """The same policy, with neither: there is no telling, and the judge can't know (an undeclared unmeasured cause)."""
    return moody(seed, size, logged=False)


def ratings(seed: int, size: float, *, noise: float = 0.3, taste: float = 1.0) -> World:
    """Ratings of pairs that members chose for what is on sale, and all by a taste that no column holds.

    The effect of a sale is larger for members. With good propensities the truth is that of all pairs, with bad ones
    that of the pairs that were rated.
    """
    rng = np.random.default_rng([seed, 3])
    users, items = int(300 * size), 120
    sale, tag = _coin(rng, 0.5, items), _coin(rng, 0.5, items)
    member = _coin(rng, 0.5, users)
    both = member[:, None] * sale[None, :]
    likes = rng.normal(size=(users, items))
    p = 1 / (1 + np.exp(2.5 - 2.5 * both - taste * likes))
    user, item = np.nonzero(rng.random(p.shape) < p)
    y = 3 + 0.5 * sale[item] + both[user, item] + 0.5 * likes[user, item] + 0.15 * rng.normal(size=items)[item]
    y += 0.3 * rng.normal(size=users)[user] + 0.5 * rng.normal(size=len(user))
    estimated = np.clip(p[user, item] * np.exp(noise * rng.normal(size=len(user))), 1e-3, 1.0)
    who = member if taste else member[user]
    return World(
        {"member": member},
        {"sale": sale, "tag": tag},
        {"user": user, "item": item, "y": y, "p": estimated},
        {"items.sale -> events.y": 0.5 + float(who.mean()), "items.tag -> events.y": 0.0},
        'outcomes = ["y"]\npropensity = "p"\npropensity_kind = "estimated"',
    )


def badly_estimated(seed: int, size: float) -> World:
    """Ratings that members chose for what is on sale; propensities that say little; the truth is of rated pairs."""
    return ratings(seed, size, noise=2.5, taste=0.0)


def amounts(tail: str, *, more: str = "") -> Callable[[int, float], World]:
    """Return a world of exposures whose outcome is a count, a rating, or an amount with a heavy tail."""

    def world(seed: int, size: float) -> World:
        rng = np.random.default_rng([seed, 4])
        users, items, rows = int(600 * size), 150, int(15_000 * size)
        sale, tag = _coin(rng, 0.5, items), _coin(rng, 0.5, items)
        user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
        factor = np.where(sale[item] > 0, 1.5, 1.0) * np.exp(0.05 * rng.normal(size=items))[item]
        noise = rng.normal(size=rows)
        mean = np.exp(0.05**2 / 2)
        if tail == "count":
            y, truth = rng.poisson(factor).astype(np.float64), 0.5 * mean
        elif tail == "rating":
            y = np.clip(np.round(3 + 0.5 * sale[item] + noise), 1, 5)
            truth = float(_rating(3.5) - _rating(3.0))
        elif tail == "log-normal":
            y, truth = factor * np.exp(1.5 * noise), 0.5 * mean * np.exp(1.125)
        else:
            y, truth = factor * (1 - rng.random(rows)) ** (-1 / 2.5), 0.5 * mean * 2.5 / 1.5
        events = {"user": user, "item": item, "y": y}
        effects = {"items.sale -> events.y": float(truth), "items.tag -> events.y": 0.0}
        return World({}, {"sale": sale, "tag": tag}, events, effects, 'outcomes = ["y"]', more)

    return world


def _rating(centre: float) -> float:
    return float(5 - norm.cdf(np.array([1.5, 2.5, 3.5, 4.5]) - centre).sum())


def towns(seed: int, size: float) -> World:
    """A confounder of a thousand levels: rich towns have more members, and spend more."""
    rng = np.random.default_rng([seed, 5])
    users, items = int(3_000 * size), 60
    town = rng.integers(0, 1_000, users)
    wealth = rng.normal(size=1_000)
    member = _coin(rng, 1 / (1 + np.exp(-wealth[town])), users)
    badge = _coin(rng, 1 / (1 + np.exp(-wealth[town])), users)
    user, item = np.repeat(np.arange(users), 4), rng.integers(0, items, 4 * users)
    y = 0.4 * member[user] + 0.8 * wealth[town][user] + 0.3 * rng.normal(size=users)[user]
    y += 0.1 * rng.normal(size=items)[item] + rng.normal(size=len(user))
    return World(
        {"member": member, "badge": badge, "town": np.array([f"town {t}" for t in town])},
        {},
        {"user": user, "item": item, "y": y},
        {"users.member -> events.y": 0.4, "users.badge -> events.y": 0.0},
        'outcomes = ["y"]',
        '[attributes."users.town"]\nkind = "categorical"',
    )


def habits(seed: int, size: float, *, history: bool = True) -> World:
    """A policy that shows more of what is on sale, or tagged, to users who clicked often before; so do their clicks."""
    rng = np.random.default_rng([seed, 6])
    users, items, steps = int(400 * size), 150, 30
    sale, tag = _coin(rng, 0.5, items), _coin(rng, 0.5, items)
    own = 0.02 * rng.normal(size=items)
    clicks, parts = np.zeros(users), []
    for step in range(steps):
        before = clicks / step if step else np.full(users, 0.3)
        item, _ = _choose(rng, (5 * (before - 0.4))[:, None] * (sale + tag)[None, :])
        click = _coin(rng, np.clip(0.15 + 0.2 * sale[item] + 0.4 * before + own[item], 0, 1), users)
        day = pd.Timestamp("2024-01-01") + pd.Timedelta(days=step)
        parts.append(pd.DataFrame({"user": np.arange(users), "item": item, "y": click, "ts": day}))
        clicks += click
    log = pd.concat(parts)
    events = {str(name): log[name].to_numpy() for name in log}
    study = 'outcomes = ["y"]\ntime = "ts"' + ('\nhistory = ["items.tag"]' if history else "")
    return World(
        {}, {"sale": sale, "tag": tag}, events, {"items.sale -> events.y": 0.2, "items.tag -> events.y": 0.0}, study
    )


def no_history(seed: int, size: float) -> World:
    """The same without the features: what a user did so far is then no column."""
    return habits(seed, size, history=False)


WORLDS: dict[str, Callable[[int, float], World]] = {
    "purchases only": purchases,
    "purchases, items of very different worth": skewed_purchases,
    "hidden mood, logged propensities": moody,
    "hidden mood, randomised slice": sliced,
    "hidden mood, neither": blind,
    "self-selected ratings, good propensities": ratings,
    "self-selected ratings, bad propensities": badly_estimated,
    "counts": amounts("count"),
    "ratings": amounts("rating"),
    "log-normal": amounts("log-normal"),
    "Pareto 2.5": amounts("pareto"),
    "a thousand levels": towns,
    "policy follows the past": habits,
    "the same without history": no_history,
}


def line(kind: str, edge: str, truth: list[float], found: list[Estimate]) -> dict[str, object]:
    """Return one line of the table."""
    told = [(e, t) for e, t in zip(found, truth, strict=True) if np.isfinite(e.estimate) and e.se > 0]
    z = np.array([(e.estimate - t) / e.se for e, t in told])
    naive = np.array([(e.naive - t) / e.se for e, t in told])
    inside = [e.ci_low <= t <= e.ci_high for e, t in told]
    return {
        "log": kind,
        "edge": edge,
        "truth": float(np.mean(truth)),
        "seeds": len(truth),
        "blocked": len(truth) - len(told),
        "estimate": float(np.mean([e.estimate for e, _ in told])),
        "bias_se": float(z.mean()),
        "bias_se_error": float(z.std(ddof=1) / np.sqrt(len(z))) if len(z) > 1 else float("nan"),
        "spread_se": float(z.std(ddof=1)) if len(z) > 1 else float("nan"),
        "coverage": float(np.mean(inside)),
        "naive_bias_se": float(naive.mean()),
        "ess_share": float(np.mean([e.ess / e.n for e, _ in told])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="logs of each kind (default 40)")
    parser.add_argument("--size", type=float, default=1.0, help="users and rows, as a multiple (default 1)")
    parser.add_argument("--only", choices=list(WORLDS), action="append", help="this kind of log; may be repeated")
    parser.add_argument("--quick", action="store_true", help="three half-size logs of each kind: a trial run")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.size = 3, 0.5
    print(describe_machine("numpy", "lightgbm"))
    print(f"{options.seeds} logs of each kind, size {options.size:g}\n")
    print("| log | edge | truth | estimate | bias in se | spread in se | coverage | naive, bias in se | ESS |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    start = time.perf_counter()
    lines: list[dict[str, object]] = []
    for kind in options.only or WORLDS:
        truths: dict[str, list[float]] = {}
        found: dict[str, list[Estimate]] = {}
        for seed in range(1, options.seeds + 1):
            world = WORLDS[kind](seed, options.size)
            for edge, estimate in world.judged().items():
                truths.setdefault(edge, []).append(world.truth[edge])
                found.setdefault(edge, []).append(estimate)
        for edge in truths:
            row = line(kind, edge, truths[edge], found[edge])
            lines.append(row)
            print(
                f"| {kind} | `{edge}` | {row['truth']:.3g} | {row['estimate']:.3g} | {row['bias_se']:+.2f} ± "
                f"{row['bias_se_error']:.2f} | {row['spread_se']:.2f} | {row['coverage']:.3f} | "
                f"{row['naive_bias_se']:+.1f} | {row['ess_share']:.0%} |",
                flush=True,
            )
    print(f"\n{time.perf_counter() - start:.0f} s")
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"logs{'-quick' if options.quick else ''}.json"
    target.write_text(json.dumps({"seeds": options.seeds, "size": options.size, "lines": lines}, indent=1) + "\n")
    print(target.relative_to(RESULTS.parent))


if __name__ == "__main__":
    main()
