"""Are causes tested first? Simulated shops with known causes and telling names, tested in several orders.

`python benchmarks/proposer_order.py --seeds 10` draws one shop a seed (58 attributes, 21 of them causes of a purchase,
under a policy that makes many others go together with it), asks a model about every attribute, and lines the edges up

- by chance,
- by raw association: one regression per attribute, rows taken as independent; and the same with clustered errors,
- by the model's word alone: votes and likelihood through the prior of `whyrank.agents.calibration`,
- as the product does before any verdict: the same prior with a quick adjusted look at the data,
- as the loop does: that order, corrected after every eight edges by the verdicts on them.

What counts is the share of causes found among the first K tested: the area under that curve over all K (1 would be
causes before anything else, as far as their number allows; chance is one half), and the share of causes among the first
ten and twenty. Intervals are over shops. Answers of the model are kept in `bench-results/proposer-order.sqlite`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from machine import describe_machine
from scipy import stats

from whyrank.agents.asking import Asker
from whyrank.agents.calibration import Calibration, Signals
from whyrank.agents.causes import ask_existence
from whyrank.agents.client import Client
from whyrank.agents.connect import open_client
from whyrank.agents.critic import criticise
from whyrank.agents.letters import Letters
from whyrank.agents.merge import merge_hypotheses
from whyrank.agents.reliability import TrackRecord, reliability, track_record
from whyrank.agents.sources import propose_exhaustive
from whyrank.config import LlmConfig
from whyrank.datasets import load_study
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.world import World, WorldSpec, simulate, write_world
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import WhyRankWarning
from whyrank.estimators.estimating import estimate_edges
from whyrank.estimators.judge import judge
from whyrank.estimators.many import estimate_many
from whyrank.ledger import Ledger
from whyrank.order_of_tests import contrasts_of, edge_outcomes
from whyrank.screen import screen

RESULTS = Path(__file__).parent.parent / "bench-results"
AT_ONCE = 8
CHANCE, RAW, CLUSTERED = "chance", "raw association", "raw association, clustered"
WORD, DEFAULT, LOOP, LOOK = "the model's word alone", "default", "with the loop's calibration", "the quick look alone"
ORDERS = (CHANCE, RAW, CLUSTERED, WORD, LOOK, DEFAULT, LOOP)


@dataclass(frozen=True)
class Shop:
    """One shop: the area under the curve and the share of causes among the first ten and twenty, by order.

    Attributes
    ----------
    seed : of the shop.
    edges, causes : edges in all, and those of them that are causal.
    best : the largest area there can be.
    voted : edges that the model voted for.
    area, first10, first20 : by order.
    brier, brier_base : of cross-fitted predictions of the verdicts, and of the base rate; none with too few verdicts.
    validated : edges validated once all are tested.
    seconds : of asking, of the quick look, and of testing everything.
    """

    seed: int
    edges: int
    causes: int
    best: float
    voted: int
    area: dict[str, float]
    first10: dict[str, float]
    first20: dict[str, float]
    brier: float
    brier_base: float
    validated: int
    seconds: dict[str, float]


def measure(spec: WorldSpec, client: Client | None, *, tests: bool) -> Shop:
    """Draw one shop, and line up its edges in every order; without tests there is no loop."""
    world = simulate(spec)
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        write_world(world, folder)
        data = load_study(folder)
    validation = data.config.validation.model_copy(update={"audit": False})
    data = replace(data, config=data.config.model_copy(update={"validation": validation}))
    seconds = {}
    started = time.perf_counter()
    hypotheses = _proposed(data, client)
    seconds["asking"] = time.perf_counter() - started
    edges = [h.edge for h in hypotheses]
    started = time.perf_counter()
    signals = screen(data, edges)
    seconds["looking"] = time.perf_counter() - started
    truth = world.truth[world.truth["modifier"] == ""].groupby("cause")["causal"].max()
    causal = {edge: bool(truth[edge.cause]) for edge in edges}

    prior = Calibration.prior()
    bare = [Hypothesis(edge) for edge in edges]
    orders = {
        RAW: _by_p(edges, raw_p_values(world, clusters=False)),
        CLUSTERED: _by_p(edges, raw_p_values(world, clusters=True)),
        LOOK: [h.edge for h in prior.rank(bare, signals)],
        DEFAULT: [h.edge for h in prior.rank(hypotheses, signals)],
    }
    started = time.perf_counter()
    record, validated = TrackRecord(reliability([], []), reliability([], [])), 0
    if tests:
        orders[LOOP], record, validated = _loop(data, hypotheses, signals)
    seconds["testing"] = time.perf_counter() - started

    flags = {name: [[causal[edge] for edge in order]] for name, order in orders.items()}
    if client is not None:
        flags[WORD] = _ties(prior, hypotheses, causal, spec.seed)
    count, causes = len(edges), sum(causal.values())
    area = {name: float(np.mean([_area(one) for one in lines])) for name, lines in flags.items()}
    area[CHANCE], share = (count + 1) / (2 * count), causes / count
    return Shop(
        seed=spec.seed,
        edges=count,
        causes=causes,
        best=_area(sorted(causal.values(), reverse=True)),
        voted=sum(h.source == "llm" for h in hypotheses),
        area=area,
        first10={name: float(np.mean([one[:10] for one in lines])) for name, lines in flags.items()} | {CHANCE: share},
        first20={name: float(np.mean([one[:20] for one in lines])) for name, lines in flags.items()} | {CHANCE: share},
        brier=record.predictions.brier,
        brier_base=record.predictions.brier_base,
        validated=validated,
        seconds=seconds,
    )


def _proposed(data: StudyData, client: Client | None) -> list[Hypothesis]:
    """Every edge on the outcome, those that the model votes for with its votes and likelihoods, as the product does."""
    found = propose_exhaustive(data)
    if client is None:
        return found
    pairs = [(h.edge.cause, h.edge.effect) for h in found]
    progress = _Line()
    ballots = ask_existence(Asker(client, progress=progress), Letters(data, data.config.study.seed), pairs, samples=1)
    claims = [
        Hypothesis(Edge(*pair), source="llm", confidence=ballot.share, call_keys=ballot.keys)
        for pair, ballot in ballots.items()
        if ballot.share >= 0.5
    ]
    claims = list(criticise(claims, data, client, progress=progress).hypotheses)
    return list(merge_hypotheses([*found, *claims]).hypotheses)


class _Line:
    """Tells on stderr what is being asked."""

    def __call__(self, what: str, done: int, total: int) -> None:
        print(f"\r  {what} {done}/{total} ", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _loop(
    data: StudyData, hypotheses: Sequence[Hypothesis], signals: dict[Edge, Signals]
) -> tuple[list[Edge], TrackRecord, int]:
    """Test eight edges at a time, the most promising first, and let their verdicts correct the order of the rest.

    The numbers of an edge don't depend on when it is tested, so they are made once.
    """
    v = data.config.validation
    made = dict(estimate_edges(data, [h.edge for h in hypotheses]))
    order: list[Edge] = []
    known: dict[Edge, bool] = {}
    while len(order) < len(hypotheses):
        calibration = Calibration.fit(hypotheses, [known.get(h.edge) for h in hypotheses], signals)
        rest = [h for h in calibration.rank(hypotheses, signals) if h.edge not in known]
        order += [h.edge for h in rest[:AT_ONCE]]
        judged = judge(
            [estimate for edge in order for estimate in made[edge]],
            hypotheses,
            fdr=v.fdr,
            smallest_effect=v.smallest_effect,
            untested={h.edge: contrasts_of(h.edge, data) for h in rest[AT_ONCE:]},
        )
        known = edge_outcomes(judged)
    outcomes = [known[h.edge] for h in hypotheses]
    return order, track_record(hypotheses, outcomes, signals), sum(outcomes)


def raw_p_values(world: World, *, clusters: bool) -> dict[str, float]:
    """The logarithm of the p-value of each attribute in a regression on it alone: many are too small for a number.

    Of several levels the smallest counts, times their number.
    """
    rows = {key: world.events[f"{key}_id"].cat.codes.to_numpy() for key in ("user", "item")}
    tables = {"users": (world.users, rows["user"]), "items": (world.items, rows["item"])}
    y = world.events["purchase"].to_numpy(dtype=np.float64)
    found: dict[str, float] = {}
    truth = world.truth[world.truth["modifier"] == ""]
    for cause, group in truth.groupby("cause", sort=False):
        table, column = str(cause).split(".", 1)
        values = world.events[column] if table == "events" else tables[table][0][column].take(tables[table][1])
        text = values.astype(str).to_numpy()
        columns = {
            f"t{k}": values.to_numpy(dtype=np.float64) if level == "" else (text == level).astype(np.float64)
            for k, level in enumerate(group["level"])
        }
        adjust = {name: [other for other in columns if other != name] for name in columns}
        frame = pd.DataFrame(columns | {"y": y} | {f"{key} code": codes for key, codes in rows.items()})
        told = estimate_many(
            frame, list(columns), ["y"], adjust, clusters=["user code", "item code"] if clusters else None, refuters=()
        )
        log_p = np.log(2) + stats.t.logsf(np.abs(told["estimate"] / told["se"]), told["dof"])
        found[str(cause)] = float(np.min(log_p)) + float(np.log(len(columns)))
    return found


def _by_p(edges: Sequence[Edge], log_p: dict[str, float]) -> list[Edge]:
    return sorted(edges, key=lambda edge: (log_p[edge.cause], str(edge)))


def _ties(
    calibration: Calibration, hypotheses: Sequence[Hypothesis], causal: dict[Edge, bool], seed: int
) -> list[list[bool]]:
    """The order of the model's word in a hundred draws: many edges have the same votes, and names tell nothing."""
    rng = np.random.default_rng(seed)
    p = np.array(calibration.probabilities(hypotheses))
    lines = []
    for _ in range(100):
        order = np.lexsort([rng.random(len(p)), -p])
        lines.append([causal[hypotheses[i].edge] for i in order])
    return lines


def _area(order: Sequence[bool]) -> float:
    """Mean, over the number of edges tested, of the share of causes found by then."""
    found = np.cumsum(order)
    return float(np.mean(found / found[-1]))


def show(shops: Sequence[Shop]) -> None:
    """Print what came of all shops."""
    print(f"\n{'order':32s} {'area under the curve':>28s} {'first 10':>10s} {'first 20':>10s} {'less raw':>28s}")
    raw = np.array([s.area[RAW] for s in shops])
    for name in (name for name in ORDERS if name in shops[0].area):
        areas = np.array([s.area[name] for s in shops])
        ten, twenty = (np.mean([getattr(s, which)[name] for s in shops]) for which in ("first10", "first20"))
        less = "" if name == RAW else _interval(areas - raw, signed=True)
        print(f"{name:32s} {_interval(areas):>28s} {ten:10.2f} {twenty:10.2f} {less:>28s}")
    print(f"{'the best there is':32s} {np.mean([s.best for s in shops]):15.3f}")
    told = [s for s in shops if np.isfinite(s.brier)]
    if told:
        print(
            f"predictions of the verdicts, from other causes' verdicts: Brier score "
            f"{np.mean([s.brier for s in told]):.3f}, base rate {np.mean([s.brier_base for s in told]):.3f}"
        )
    print(f"edges that the model votes for, mean: {np.mean([s.voted for s in shops]):.1f} of {shops[0].edges}")
    seconds = {part: np.median([s.seconds[part] for s in shops]) for part in shops[0].seconds}
    print("seconds, median: " + ", ".join(f"{part} {value:.1f}" for part, value in seconds.items()))


def _interval(values: np.ndarray, *, signed: bool = False) -> str:
    mean = float(values.mean())
    text = f"{mean:+.3f}" if signed else f"{mean:.3f}"
    if len(values) < 2 or float(values.std()) == 0:
        return text
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return f"{text} [{mean - half:.3f}, {mean + half:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of shops (default 10)")
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--users", type=int, default=800)
    parser.add_argument("--items", type=int, default=150)
    parser.add_argument("--events", type=int, default=12_000)
    parser.add_argument("--base-url", default="embedded", help="model server (default: the embedded one)")
    parser.add_argument("--no-model", action="store_true", help="leave the model out")
    parser.add_argument("--no-tests", action="store_true", help="leave out the order that needs every edge tested")
    parser.add_argument("--nonlinear", action="store_true", help="curved effects and a logistic link")
    parser.add_argument("--quick", action="store_true", help="two shops")
    options = parser.parse_args()
    warnings.simplefilter("ignore", WhyRankWarning)
    print(describe_machine("numpy", "scipy", "xllamacpp"))
    seeds = 2 if options.quick else options.seeds
    print(f"{seeds} shops: {options.users:,} users, {options.items:,} items, {options.events:,} exposures\n")
    RESULTS.mkdir(exist_ok=True)
    shops = []
    with ExitStack() as stack:
        client = None
        if not options.no_model:
            store = stack.enter_context(Ledger.open(RESULTS / "proposer-order.sqlite"))
            client = stack.enter_context(open_client(LlmConfig(base_url=options.base_url), store=store))
        for seed in range(options.first, options.first + seeds):
            spec = WorldSpec(
                n_users=options.users,
                n_items=options.items,
                n_events=options.events,
                nonlinear=options.nonlinear,
                seed=seed,
            )
            shop = measure(spec, client, tests=not options.no_tests)
            shops.append(shop)
            areas = ", ".join(f"{name} {shop.area[name]:.3f}" for name in ORDERS if name in shop.area)
            told = "" if options.no_tests else f"; {shop.validated} validated"
            print(f"seed {seed}: {areas}{told}", flush=True)
    show(shops)
    parts = [
        part for part in ("no-model", "no-tests", "nonlinear", "quick") if getattr(options, part.replace("-", "_"))
    ]
    target = RESULTS / f"{'-'.join(['proposer-order', str(options.events), *parts])}.json"
    target.write_text(json.dumps([asdict(s) for s in shops], indent=1) + "\n", encoding="utf-8")
    print(f"\neach shop: {target}")


if __name__ == "__main__":
    main()
