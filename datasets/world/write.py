"""Write a simulated shop as a study folder."""

from __future__ import annotations

import json
from pathlib import Path

from whyrank.datasets.atomic import replace_file, to_csv
from whyrank.datasets.world.columns import Column, select
from whyrank.datasets.world.simulate import World

__all__ = ["write_world"]


def write_world(world: World, folder: Path | str) -> Path:
    """Write users, items, events, truth and `whyrank.toml` into `folder`; return the study file.

    Each file appears whole or not at all, and the study file last.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("users", "items", "events", "truth"):
        replace_file(folder / f"{name}.csv", to_csv(getattr(world, name)))
    study = folder / "whyrank.toml"
    replace_file(study, study_file(world).encode())
    return study


def study_file(world: World) -> str:
    """Return the text of the study file of a world."""
    spec = world.spec
    columns = select(spec.columns)
    context = [c.column for c in columns if c.table == "events"]
    lines = [
        "# A simulated shop. truth.csv holds the true effect of every contrast; WhyRank doesn't read it.",
        "",
        "[study]",
        f"name = {json.dumps('null shop' if spec.null else 'simulated shop')}",
        f"seed = {spec.seed}",
        f"language = {json.dumps(spec.language)}",
        "",
        "[users]",
        'path = "users.csv"',
        'key = "user_id"',
        "",
        "[items]",
        'path = "items.csv"',
        'key = "item_id"',
        'text = ["title", "description"]',
        "",
        "[events]",
        'path = "events.csv"',
        'user = "user_id"',
        'item = "item_id"',
        'time = "ts"',
        'outcomes = ["purchase"]',
        f"context = {json.dumps(context)}",
        "",
    ]
    for column in columns:
        lines += _attribute(column, spec.language == "zh")
    return "\n".join(lines)


def _attribute(column: Column, chinese: bool) -> list[str]:
    text = json.dumps(column.zh if chinese else column.en, ensure_ascii=False)
    return [f'[attributes."{column.name}"]', f'kind = "{column.kind}"', f"description = {text}", ""]
