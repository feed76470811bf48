"""Can a decisive attribute that stands in the descriptions alone be read out, and is its effect found in the end?

`python benchmarks/proposer_labels.py` writes a shop whose purchases follow whether an item is made with the environment
in mind, which only its description tells, in many wordings (`text_world.py`), in English and in Chinese; has the items
labelled by the schema that a person would write; holds the labels against the truth; and has the edge judged. Beside it
stand a baseline without a model, the level whose meaning shares more words with the text, and the true labels: what the
judge could find at best.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import describe_machine
from text_world import SCHEMA, Language, TextWorld, write_text_world

import whyrank
from whyrank.datasets.text_clean import item_texts, text_hash
from whyrank.datasets.text_features import tokens
from whyrank.datasets.text_labels import Label, LabelBook, write_labels
from whyrank.datasets.text_schema import read_schema

RESULTS = Path(__file__).parent.parent / "bench-results"


@dataclass(frozen=True)
class Line:
    """One attribute, labelled in one way.

    Attributes
    ----------
    labelled : share of items with a label.
    right : share of those that are right; kappa : agreement beyond chance.
    verdict, estimate : of the attribute on purchases.
    """

    language: str
    attribute: str
    way: str
    labelled: float
    right: float
    kappa: float
    verdict: str
    estimate: float
    truth: float
    seconds: float


def held_against(world: TextWorld, folder: Path, way: str, language: str, seconds: float) -> list[Line]:
    """Hold the labels that lie in the folder against the truth, and have the edges judged."""
    names = ["sustainable", "audience"]
    with warnings.catch_warnings(), whyrank.open(folder) as study:
        warnings.simplefilter("ignore", whyrank.errors.WhyRankWarning)
        data = study.data
        known = [name for name in names if data.attributes[f"items.{name}"].role == "any"]
        table: Any = study.validate([f"items.{name} -> events.purchase" for name in known]) if known else pd.DataFrame()
    lines = []
    for name in names:
        truth = world.truth[name].loc[list(map(str, data.item_ids))].to_numpy()
        values: Any = data.items[name].to_numpy() if name in data.items else np.full(len(truth), np.nan)
        has = np.isfinite(values)
        right = float(np.mean(values[has] == truth[has])) if has.any() else float("nan")
        chance = _chance(values[has], truth[has])
        row = table[table["cause"] == f"items.{name}"].iloc[0] if name in known else None
        lines.append(
            Line(
                language,
                name,
                way,
                float(has.mean()),
                right,
                (right - chance) / (1 - chance) if chance < 1 else float("nan"),
                "" if row is None else str(row["verdict"]),
                float("nan") if row is None else float(row["estimate"]),
                world.effect if name == "sustainable" else 0.0,
                seconds,
            )
        )
    return lines


def _chance(one: Any, other: Any) -> float:
    return float(sum(np.mean(one == level) * np.mean(other == level) for level in (0, 1))) if len(one) else 1.0


def label_without_model(folder: Path, truth: pd.DataFrame | None) -> None:
    """Label by the truth, or by shared words: the level whose meaning shares more with the text; none at a tie."""
    with warnings.catch_warnings(), whyrank.open(folder) as study:
        warnings.simplefilter("ignore", whyrank.errors.WhyRankWarning)
        data = study.data
    schema = read_schema(folder / "attributes.toml")
    labels = []
    for attribute in schema.used:
        meanings = {level: set(tokens(meaning)) for level, meaning in attribute.levels.items()}
        for item, text in zip(map(str, data.item_ids), item_texts(data.items, list(data.texts)), strict=True):
            if truth is None:
                found = _nearest(meanings, text)
            else:
                found = list(attribute.levels)[int(truth[attribute.name].loc[item])]
            labels.append(Label(item, attribute.name, found, 1.0, "hand", "words", text_hash(text), attribute.hash))
    names = [attribute.name for attribute in schema.attributes]
    write_labels(
        LabelBook(labels), folder / "attributes.labels.csv", items=list(map(str, data.item_ids)), attributes=names
    )


def _nearest(meanings: Mapping[str, set[str]], text: str) -> str:
    shared = {level: len(words & set(tokens(text))) for level, words in meanings.items()}
    best = max(shared.values())
    winners = [level for level, count in shared.items() if count == best]
    return winners[0] if len(winners) == 1 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="embedded", help="the model's server (default: the embedded one)")
    parser.add_argument("--method", choices=("auto", "votes", "likelihood", "similarity"), default="auto")
    parser.add_argument("--items", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=1, help="shops in each language (default 1)")
    parser.add_argument("--quick", action="store_true", help="40 items, English only")
    options = parser.parse_args()
    languages: tuple[Language, ...] = ("en",) if options.quick else ("en", "zh")
    items = 40 if options.quick else options.items
    print(describe_machine("openai"))
    print(f"{items} items, half of them sustainable; its effect on purchases is +0.10, that of the audience 0\n")
    lines: list[Line] = []
    for language in languages:
        for seed in range(7, 7 + options.seeds):
            for way in ("words", "truth", options.method):
                with tempfile.TemporaryDirectory(prefix="texts-") as name:
                    lines += one_shop(Path(name), language, seed, items, way, options.base_url)
    show(lines)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "proposer-labels.json"
    target.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="utf-8")
    print(f"\neach line: {target}")


def one_shop(folder: Path, language: Language, seed: int, items: int, way: str, base_url: str) -> list[Line]:
    """Write one shop, label its items in one way, and judge."""
    world = write_text_world(folder, language=language, seed=seed, n_items=items, base_url=base_url)
    head = "" if way in ("words", "truth") else f'method = "{way}"\n'
    (folder / "attributes.toml").write_text(head + SCHEMA[language], encoding="utf-8")
    start, used = time.perf_counter(), way
    if way in ("words", "truth"):
        label_without_model(folder, world.truth if way == "truth" else None)
    else:
        with warnings.catch_warnings(), whyrank.open(folder) as study:
            warnings.simplefilter("ignore", whyrank.errors.WhyRankWarning)
            report = study.label_texts()
        used = f"{report.method} of the model"
        print(f"  {language}: {report.labelled} labels, {report.usage}", file=sys.stderr)
    return held_against(world, folder, used, language, time.perf_counter() - start)


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def show(lines: list[Line]) -> None:
    """Print one line an attribute and way, the mean over shops."""
    print(
        f"{'':4s}{'attribute':14s}{'labels by':26s}{'labelled':>9s}{'right':>8s}{'kappa':>8s}  verdict, effect (truth)"
    )
    for language, attribute, way in dict.fromkeys((x.language, x.attribute, x.way) for x in lines):
        mine = [x for x in lines if (x.language, x.attribute, x.way) == (language, attribute, way)]
        told = ", ".join(f"{x.verdict or 'not testable'} {x.estimate:+.3f}" for x in mine)
        means = [_mean([getattr(x, part) for x in mine]) for part in ("labelled", "right", "kappa")]
        shares = "".join(f"{mean:{width}.2f}" for mean, width in zip(means, (9, 8, 8), strict=True))
        print(f"{language:4s}{attribute:14s}{way:26s}{shares}  {told} ({mine[0].truth:+.2f})")


if __name__ == "__main__":
    main()
