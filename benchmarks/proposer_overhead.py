"""What thousands of questions cost on our side: time, memory, and calls a second, with a model that answers at once.

A study with as many attributes and outcomes as make the wanted number of pairs; a scripted model finds every one of
them likely, so that each becomes a proposal with its direction, its details and its votes, all in a ledger on disk.
Nothing of the time is the model's. A second run is answered from the ledger.

    python benchmarks/proposer_overhead.py           10,000 proposals
    python benchmarks/proposer_overhead.py --quick   1,600
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import describe_machine
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from whyrank.agents.backend import Message, Reply
from whyrank.agents.client import Client
from whyrank.agents.flow import Flow, Patience
from whyrank.agents.progress import AskingBar
from whyrank.agents.propose import Proposal, propose_llm
from whyrank.config import EventsConfig, ItemsConfig, StudyConfig, StudySection, UsersConfig
from whyrank.datasets.study_data import Attribute, Outcome, StudyData
from whyrank.ledger import Ledger

_SLOTS = 64


class Instant:
    """A model that answers at once, without threads: what is measured is everything else."""

    model = "instant"
    slots = _SLOTS

    def __init__(self) -> None:
        self.flow = Flow(_SLOTS, Patience())
        self.calls = 0

    def send(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Reply:
        """Everything is likely; of nothing else is anything said."""
        self.calls += 1
        said = {name: _word(kind.get("enum", ())) for name, kind in params["schema"]["properties"].items()}
        content = json.dumps(said)
        raw = json.dumps({"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}}]})
        return Reply(content, tokens_in=600, tokens_out=80, raw=raw)

    def submit(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Future[Reply]:
        """Answer in a future that is done."""
        future: Future[Reply] = Future()
        future.set_result(self.send(messages, params))
        return future


def _word(words: Sequence[str]) -> str:
    for liked in ("likely", "raises", "none"):
        if liked in words:
            return liked
    return words[0] if words else "People look at what it costs before they buy."


def make_study(pairs: int) -> StudyData:
    """A study of plain numbers with at least so many pairs of attribute and outcome."""
    side = int(np.ceil(np.sqrt(pairs)))
    attributes = [
        Attribute(f"{table}.attribute_{i}", "numeric", description=f"what attribute {i} stands for")
        for i in range(side)
        for table in [("items", "users")[i % 2]]
    ]
    outcomes = [Outcome(f"events.outcome_{i}", "mean", f"what outcome {i} counts") for i in range(side)]
    names = [o.name.removeprefix("events.") for o in outcomes]
    path = Path("overhead/whyrank.toml")
    config = StudyConfig(
        path=path,
        study=StudySection(name="overhead"),
        users=UsersConfig(path="users.csv", key="user_id"),
        items=ItemsConfig(path="items.csv", key="item_id", text=("title",)),
        events=EventsConfig(path="events.csv", user="user_id", item="item_id", outcomes=tuple(names)),
    )
    return StudyData(
        config=config,
        path=path,
        users=pd.DataFrame(index=range(2)),
        items=pd.DataFrame({"title": [f"Blue mug, {i} of a set" for i in range(50)]}),
        events=pd.DataFrame({"user": [0, 1], "item": [0, 1], **{name: [0.0, 1.0] for name in names}}),
        user_ids=np.array(["u1", "u2"], dtype=object),
        item_ids=np.array([f"i{i}" for i in range(50)], dtype=object),
        attributes={a.name: a for a in attributes},
        outcomes={o.name: o for o in outcomes},
        texts=("title",),
        findings=(),
        dropped={},
        fingerprint="",
    )


def propose(data: StudyData, model: Instant, ledger: Ledger) -> tuple[Proposal, dict[str, float]]:
    """Propose once; returns what came of it and what it took."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    before, wall, cpu = model.calls, time.perf_counter(), time.process_time()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        proposal = propose_llm(data, Client(model, store=ledger, seed=1), seed=1, progress=AskingBar(bar))
    return proposal, {
        "proposals": len(proposal.hypotheses),
        "calls": model.calls - before,
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,600 proposals instead of 10,000")
    parser.add_argument("--output", type=Path, default=Path("bench-results/proposer_overhead.json"))
    options = parser.parse_args()
    sizes = (400, 1_600) if options.quick else (1_600, 10_000)
    rows = []
    for pairs in sizes:  # the smaller one first: the peak of memory only ever rises
        data, model = make_study(pairs), Instant()
        with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.sqlite") as ledger:
            first, asked = propose(data, model, ledger)
            second, known = propose(data, model, ledger)
        if second.hypotheses != first.hypotheses or known["calls"]:
            sys.exit("the second run differs from the first")
        rows.append({"pairs": len(data.attributes) * len(data.outcomes), "first": asked, "second": known})
    machine = describe_machine("pydantic", "sqlalchemy", "jinja2")
    for row in rows:
        for name in ("first", "second"):
            print(f"{row['pairs']:>7,} pairs, {name:<6} run: {row[name]}")
    print(machine)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
