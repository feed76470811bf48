"""Does reading the verdicts pay? Shops whose discount works for one kind of people only: who finds out for whom?

`python benchmarks/proposer_loop.py` draws shops in which a discount moves purchases among members (one user in four)
and nobody else, and has the model propose: in one round, and in several, each of which reads the verdicts. Within the
same budget of tested edges: how often is "discount -> purchase, differs by member" validated, how often is another
modifier, which would be wrong? Beside the model stands a proposer that draws at random, asked in the same ways.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import describe_machine

import whyrank
from whyrank.agents import connect
from whyrank.agents.client import Client
from whyrank.agents.scripted import ScriptedModel, Sent

RESULTS = Path(__file__).parent.parent / "bench-results"
TRUE = "items.discount -> events.purchase | users.member"
MIRROR = "users.member -> events.purchase | items.discount"  # the same interaction, told from its other side
USERS, ITEMS, EVENTS = 600, 120, 24_000
EFFECT = 0.12
MAX_EDGES = 24


@dataclass(frozen=True)
class Line:
    """One shop, one proposer, one number of rounds.

    Attributes
    ----------
    found : the true modifier was validated.
    tested : whether it was tested at all.
    wrong : other modifiers that were validated, but for the same interaction told from its other side.
    edges, calls : tested edges, and calls of the model.
    """

    proposer: str
    seed: int
    rounds: int
    found: bool
    tested: bool
    wrong: int
    edges: int
    calls: int
    seconds: float


def write_shop(folder: Path, seed: int, base_url: str, rounds: int) -> None:
    """Write one shop."""
    rng = np.random.default_rng([seed, 23])
    member = rng.random(USERS) < 0.25
    users = pd.DataFrame(
        {
            "user_id": [f"p{i:04d}" for i in range(USERS)],
            "member": member.astype(int),
            "age": np.round(rng.normal(40, 12, USERS)).astype(int),
            "student": (rng.random(USERS) < 0.3).astype(int),
            "region": rng.choice(["north", "south", "west"], USERS),
            "phone_app": (rng.random(USERS) < 0.5).astype(int),
        }
    )
    discount = rng.permutation(np.arange(ITEMS) % 2)
    items = pd.DataFrame(
        {
            "item_id": [f"a{i:04d}" for i in range(ITEMS)],
            "discount": discount,
            "price": np.round(rng.normal(30, 8, ITEMS), 2),
            "colour": rng.choice(["red", "blue", "green"], ITEMS),
            "new_in": rng.permutation(np.arange(ITEMS) % 2),
        }
    )
    user, item = rng.integers(0, USERS, EVENTS), rng.integers(0, ITEMS, EVENTS)
    chance = 0.25 + EFFECT * (discount[item] * member[user]) + 0.02 * rng.standard_normal(USERS)[user]
    chance = chance + 0.015 * rng.standard_normal(ITEMS)[item]
    events = pd.DataFrame(
        {
            "user_id": users["user_id"].to_numpy()[user],
            "item_id": items["item_id"].to_numpy()[item],
            "purchase": (rng.random(EVENTS) < np.clip(chance, 0, 1)).astype(int),
        }
    )
    for name, table in (("users", users), ("items", items), ("events", events)):
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "whyrank.toml").write_text(
        f'[study]\nname = "shop"\nseed = {seed}\n'
        '[users]\npath = "users.csv"\nkey = "user_id"\n[items]\npath = "items.csv"\nkey = "item_id"\n'
        '[events]\npath = "events.csv"\nuser = "user_id"\nitem = "item_id"\noutcomes = ["purchase"]\n'
        '[attributes."users.member"]\ndescription = "member of the loyalty club"\n'
        '[attributes."items.discount"]\ndescription = "sold at a reduced price"\n'
        f'[llm]\nbase_url = "{base_url}"\nrounds = {rounds}\nmax_edges = {MAX_EDGES}\n'
        "[validation]\naudit = false\n",
        encoding="utf-8",
    )


def at_random(seed: int) -> ScriptedModel:
    """A proposer that draws its words, anew for each question and the same for the same one."""

    def answer(sent: Sent) -> Mapping[str, Any]:
        said = {}
        for name, asked in sent.params["schema"]["properties"].items():
            words = asked.get("enum") or ([asked["const"]] if "const" in asked else [])
            digest = hashlib.sha256(f"{seed}/{name}/{sent.params['seed']}/{sent.text}".encode()).digest()
            said[name] = words[digest[0] % len(words)] if words else "people look at it"
        return said

    return ScriptedModel(answer, slots=4)


@contextmanager
def answered_by(model: ScriptedModel | None) -> Iterator[None]:
    """Have a script answer in place of the study's server; None leaves that as it is."""
    if model is None:
        yield
        return
    usual = connect.open_client

    @contextmanager
    def open_client(llm: Any, *, store: Any = None, seed: int = 0, language: Any = "en") -> Iterator[Client]:
        yield Client(model, store=store, seed=seed, language=language)

    connect.open_client = open_client
    try:
        yield
    finally:
        connect.open_client = usual


def one(proposer: str, seed: int, rounds: int, base_url: str) -> Line:
    """Run one shop."""
    with tempfile.TemporaryDirectory(prefix="loop-") as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", whyrank.errors.WhyRankWarning)
        folder = Path(name)
        write_shop(folder, seed, base_url, rounds)
        start = time.perf_counter()
        with answered_by(at_random(seed) if proposer == "random" else None), whyrank.open(folder) as study:
            summary = study.run(sources=("llm",))
            table = study.verdicts()
        seconds = time.perf_counter() - start
    modified = table[table["modifier"] != ""]
    validated = modified.loc[modified["verdict"] == "validated", "edge"]
    return Line(
        proposer,
        seed,
        rounds,
        bool((validated == TRUE).any()),
        bool((modified["edge"] == TRUE).any()),
        int((~validated.isin([TRUE, MIRROR])).sum()),
        int(sum(r.kept for r in summary.rounds)),
        summary.calls,
        seconds,
    )


def show(lines: list[Line]) -> None:
    """Print one line a proposer and number of rounds."""
    heads = f"{'proposer':12s}{'rounds':>7s}{'shops':>7s}{'tested':>8s}{'found':>7s}{'95 % interval':>18s}"
    print(f"\n{heads}{'wrong':>7s}{'edges':>7s}{'calls':>7s}{'s':>7s}")
    for proposer, rounds in dict.fromkeys((x.proposer, x.rounds) for x in lines):
        mine = [x for x in lines if (x.proposer, x.rounds) == (proposer, rounds)]
        n, hits = len(mine), sum(x.found for x in mine)
        low, high = wilson(hits, n)
        print(
            f"{proposer:12s}{rounds:7d}{n:7d}{np.mean([x.tested for x in mine]):8.2f}{hits / n:7.2f}"
            f"{f'{low:.2f} to {high:.2f}':>18s}{sum(x.wrong for x in mine):7d}{np.mean([x.edges for x in mine]):7.1f}"
            f"{np.mean([x.calls for x in mine]):7.0f}{np.mean([x.seconds for x in mine]):7.1f}"
        )


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z = 1.959964
    centre = (hits + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(hits * (n - hits) / n + z**2 / 4) / (n + z**2)
    return float(centre - half), float(centre + half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="shops (default 10)")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of the loop (default 4)")
    parser.add_argument("--base-url", default="embedded", help="the model's server (default: the embedded one)")
    parser.add_argument("--only", choices=("model", "random"), action="append", help="not both proposers")
    parser.add_argument("--quick", action="store_true", help="two shops")
    options = parser.parse_args()
    print(describe_machine("langgraph"))
    print(f"{USERS} users, {ITEMS} items, {EVENTS:,} exposures; at most {MAX_EDGES} edges tested")
    lines = []
    for proposer in options.only or ("random", "model"):
        for seed in range(1, (2 if options.quick else options.seeds) + 1):
            for rounds in (1, options.rounds):
                lines.append(one(proposer, seed, rounds, options.base_url))
                print(f"  {lines[-1]}", file=sys.stderr, flush=True)
    show(lines)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "proposer-loop.json"
    target.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="utf-8")
    print(f"\neach line: {target}")


if __name__ == "__main__":
    main()
