"""Does the proposer know which of two things causes the other? Named cause-effect pairs, by way of asking.

`python benchmarks/proposer_directions.py` asks the embedded model about 108 pairs (Mooij et al. 2016), which way round
drawn anew for each, as the data name the cause first in 72 % of them; with `--base-url` any other server. Published
answers of larger models to one question stand beside. A pair that is left open counts as half right.

Beside it stands what the score is made of, as these pairs can be won without knowing any cause: that the shorter phrase
is the cause, that the phrase which follows "Changing" more readily is, and what is left of the score without that: how
much likelier the effect's phrase becomes once the cause is named. `--paraphrases` scores five other sentences in place
of the product's one, and their average.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import describe_machine

from whyrank.agents.backend import OpenAIBackend
from whyrank.agents.calls import MemoryStore
from whyrank.agents.client import Client
from whyrank.agents.connect import open_backend
from whyrank.agents.critic import choose_strategy
from whyrank.agents.directions import STRATEGIES, DirectionStrategy, ask_directions_of
from whyrank.agents.likelihood import Scored, score_all
from whyrank.config import LlmConfig

DATA = Path(os.environ.get("WHYRANK_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
RESULTS = Path(__file__).parent.parent / "bench-results"
DRAWS = 2_000
PARAPHRASES = {
    "affects": ("Changing {u} affects {v}.", "Something affects {v}."),
    "changes": ("Changing {u} changes {v}.", "Something changes {v}."),
    "leads to": ("Changing {u} leads to a different {v}.", "Something leads to a different {v}."),
    "has an influence on": ("Changing {u} has an influence on {v}.", "Something has an influence on {v}."),
    "has an effect on": ("Changing {u} has an effect on {v}.", "Something has an effect on {v}."),
}


@contextmanager
def server(options: argparse.Namespace) -> Iterator[OpenAIBackend]:
    """Connect to the server that the options name."""
    if options.vllm:
        from whyrank.agents.vllm_engine import vllm_server

        with vllm_server(options.model) as endpoint, closing(OpenAIBackend(endpoint)) as backend:
            yield backend
        return
    config = LlmConfig(base_url=options.base_url, model=options.model, allow_remote=options.allow_remote)
    with open_backend(config) as backend:
        yield backend


def pairs_file(folder: Path) -> Path:
    """Where the pairs are in the folder of the data sets."""
    return folder / "cause-effect-pairs" / "pairs.csv"


def load_pairs(folder: Path, count: int | None) -> pd.DataFrame:
    """Return the pairs with columns u, v, truth (1 if u causes v, else -1) and weight, turned round at random."""
    pairs: Any = pd.read_csv(pairs_file(folder))
    turned = np.random.default_rng(7).random(len(pairs)) < 0.5
    a, b = pairs["a_description"], pairs["b_description"]
    forward = (pairs["truth"] == "a->b").to_numpy() != turned
    table = pd.DataFrame(
        {
            "u": np.where(turned, b, a),
            "v": np.where(turned, a, b),
            "truth": np.where(forward, 1, -1),
            "weight": pairs["weight"],
        }
    )
    return table.head(count) if count else table


def accuracy(right: Any, weight: Any) -> tuple[float, float, float]:
    """Return a weighted share and its 95 % interval over pairs drawn anew (bootstrap)."""
    rng = np.random.default_rng(1)
    picks = rng.integers(0, len(right), (DRAWS, len(right)))
    draws = (right[picks] * weight[picks]).sum(axis=1) / np.maximum(weight[picks].sum(axis=1), 1e-12)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float((right * weight).sum() / weight.sum()), float(low), float(high)


def show(name: str, right: Any, weight: Any, note: str) -> dict[str, Any]:
    """Print one line, and return it."""
    plain, weighted = accuracy(right, np.ones(len(right))), accuracy(right, weight)
    print(
        f"{name:38s} {plain[0]:6.1%} ({plain[1]:.1%} to {plain[2]:.1%})   "
        f"{weighted[0]:6.1%} ({weighted[1]:.1%} to {weighted[2]:.1%})   {note}",
        flush=True,
    )
    return {"name": name, "accuracy": plain, "weighted": weighted, "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="embedded", help="the server (default: the embedded one)")
    parser.add_argument("--vllm", action="store_true", help="start vLLM for it")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--allow-remote", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA, help=f"folder of the data sets (default {str(DATA)!r})")
    parser.add_argument("--only", choices=STRATEGIES, action="append", help="this strategy; may be repeated")
    parser.add_argument("--paraphrases", action="store_true", help="other sentences for the normalised likelihood too")
    parser.add_argument("--samples", type=int, default=3, help="votes in each order, for `votes` (default 3)")
    parser.add_argument("--quick", action="store_true", help="the first 24 pairs")
    options = parser.parse_args()
    if not pairs_file(options.data).is_file():
        print(f"skipped: no pairs at {str(pairs_file(options.data))!r}; give their folder by --data or WHYRANK_DATA")
        return
    pairs = load_pairs(options.data, 24 if options.quick else None)
    words = list(zip(pairs["u"], pairs["v"], strict=True))
    truth, weight = pairs["truth"].to_numpy(), pairs["weight"].to_numpy(dtype=float)
    print(describe_machine("openai"))
    lines = []
    with server(options) as backend:
        client = Client(backend, store=MemoryStore(), seed=7)
        print(f"{backend.model}, {len(pairs)} pairs\n")
        print(f"{'':38s} {'right':>6s} {'(95 %)':20s} {'weighted':>8s}")
        for strategy in options.only or STRATEGIES:
            lines.append(tell(client, strategy, words, truth, weight, options.samples))
        lines += beside(client, words, truth, weight)
        if options.paraphrases:
            lines += paraphrased(client, words, truth, weight)
        chosen, _ = choose_strategy(client)
    print(f"\nchosen for this model by default: {chosen}")
    published = options.data / "cause-effect-pairs" / "published_accuracy.csv"
    if published.is_file():
        print(f"published, one question each:\n{pd.read_csv(published).to_string(index=False)}")
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"proposer-directions-{backend.model}.json"
    told = {"machine": describe_machine("openai"), "model": backend.model, "chosen": chosen, "lines": lines}
    target.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"\neach line: {target}")


def tell(
    client: Client, strategy: DirectionStrategy, words: list[tuple[str, str]], truth: Any, weight: Any, samples: int
) -> dict[str, Any]:
    """Ask about all pairs in one way; a pair that is left open counts as half right."""
    start = time.perf_counter()

    def progress(what: str, done: int, total: int) -> None:
        if done == total or done % 50 == 0:
            print(f"  {strategy}: {done} of {total}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)

    said, usage = ask_directions_of(client, words, strategy=strategy, samples=samples, progress=progress)
    lean = np.sign([one.lean for one in said])
    right = np.where(lean == 0, 0.5, lean == truth)
    seconds = time.perf_counter() - start
    return show(strategy, right, weight, f"{np.mean(lean == 0):.0%} open, {usage.calls} calls, {seconds:.0f} s")


def beside(client: Client, words: list[tuple[str, str]], truth: Any, weight: Any) -> list[dict[str, Any]]:
    """What the pairs can be told by without knowing any cause, and what is left of the score without that."""
    shorter = np.array([len(v) - len(u) for u, v in words], dtype=float)
    lines = [line("(the shorter phrase)", shorter, truth, weight)]
    texts, link = [], " causes a change in"
    for u, v in words:
        for cause, effect in ((u, v), (v, u)):
            texts.append(Scored("Changing", f" {cause}"))
            texts += [Scored(f"{start}{link}", f" {effect}.") for start in (f"Changing {cause}", "Something")]
    scores = score_all(client, texts)
    found = np.array([np.nan if score is None else score.logprob for score in scores]).reshape(-1, 6)
    lines.append(line('(the phrase after "Changing")', found[:, 0] - found[:, 3], truth, weight))
    rest = found @ [0.0, 1.0, -1.0, 0.0, -1.0, 1.0]
    return [*lines, line("(the effect, once the cause is named)", rest, truth, weight)]


def paraphrased(client: Client, words: list[tuple[str, str]], truth: Any, weight: Any) -> list[dict[str, Any]]:
    """The normalised likelihood with other sentences, and averaged over them and the product's own."""
    own, _ = ask_directions_of(client, words, strategy="normalised likelihood")
    leans = [np.array([one.lean for one in own])]
    lines = []
    for name, (whole, alone) in PARAPHRASES.items():
        texts = []
        for u, v in words:
            texts += [whole.format(u=u, v=v), alone.format(v=v), whole.format(u=v, v=u), alone.format(v=u)]
        scores = score_all(client, [_scored(text) for text in texts])
        found = np.array([np.nan if score is None else score.logprob for score in scores]).reshape(-1, 4)
        leans.append(found @ [1.0, -1.0, -1.0, 1.0])
        lines.append(line(f"  {name}", leans[-1], truth, weight))
    return [*lines, line("  average of six sentences", np.mean(leans, axis=0), truth, weight)]


def line(name: str, lean: Any, truth: Any, weight: Any) -> dict[str, Any]:
    """Print and return what leaning that way is worth; a pair without a score is left open."""
    sign = np.sign(np.nan_to_num(lean))
    return show(name, np.where(sign == 0, 0.5, sign == truth), weight, f"{np.mean(sign == 0):.0%} open")


def _scored(text: str) -> Scored:
    first, rest = text.split(" ", 1)
    return Scored(first, f" {rest}")


if __name__ == "__main__":
    main()
