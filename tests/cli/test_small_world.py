from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result

from whyrank.datasets.world import small_world, write_world
from whyrank.estimators.estimate import VERDICT_COLUMNS

Cli = Callable[..., Result]
Records = Callable[..., list[dict[str, Any]]]

EDGES = ["events.display -> events.purchase", "items.price -> events.purchase", "users.gender -> events.purchase"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_world(small_world(), folder)
    (folder / "edges.jsonl").write_text("".join(json.dumps({"edge": edge}) + "\n" for edge in EDGES))
    return folder


def test_a_study_from_check_to_report(
    whyrank_cli: Cli, ask: Cli, records: Records, folder: Path, tmp_path: Path
) -> None:
    early = whyrank_cli("verdicts", folder, "--workdir", tmp_path)
    assert (early.exit_code, early.stdout) == (2, "")
    assert "nothing judged yet" in early.stderr

    ask("check", folder)
    ran = ask("run", folder, "--source", folder / "edges.jsonl", "--user", "u007")
    assert "For u007, ranked for events.purchase:" in ran.stdout
    assert f"report: {tmp_path / 'report.html'}" in ran.stdout

    verdicts = records("verdicts", folder / "whyrank.toml")
    assert {str(v["edge"]) for v in verdicts} == set(EDGES)
    assert list(verdicts[0]) == list(VERDICT_COLUMNS)
    named = {str(v["edge"]): v["verdict"] for v in verdicts}
    assert named["events.display -> events.purchase"] == "validated"

    weights = tmp_path / "weights.parquet"
    ask("weights", folder, "--output", weights)
    assert set(pd.read_parquet(weights)["attribute"]) == {edge.split(" ")[0] for edge in EDGES}

    ranked = records("recommend", folder, "--user", "u007", "-k", "3", "--context", "display=1")
    assert [r["rank"] for r in ranked] == [1, 2, 3]
    assert all(str(r["reasons"]).count("(validated)") >= 1 for r in ranked)
    score = json.loads(
        ask(
            "explain", folder, "--user", "u007", "--item", ranked[0]["item_id"], "--context", "display=1",
            "--format", "json",
        ).stdout
    )  # fmt: skip
    assert score["score"] == pytest.approx(ranked[0]["score"])

    plan = tmp_path / "plan.csv"
    last = ranked[-1]["item_id"]
    plan.write_text(f"item_id,display\n{last},0\n")
    in_plan = ("--context", "display=1", "--context-file", plan)
    planned = records("recommend", folder, "--user", "u007", "-k", "3", *in_plan)
    assert [r["score"] for r in planned][:2] == pytest.approx([r["score"] for r in ranked][:2])
    assert last not in {r["item_id"] for r in planned} or planned[-1]["score"] < ranked[-1]["score"]
    explained = ask("explain", folder, "--user", "u007", "--item", last, *in_plan).stdout
    assert "events.display = 0" in " ".join(explained.split())
    ran_again = ask("run", folder, "--source", folder / "edges.jsonl", "--user", "u007", *in_plan)
    assert "display = 1" in ran_again.stdout
    assert "display = 1 raises" in (tmp_path / "report.html").read_text(encoding="utf-8")
    plan.write_text(f"item_id,display\n{last}x,0\n")
    wrong = whyrank_cli("run", folder, "--context-file", plan, "--workdir", tmp_path)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert f"no item '{last}x' in this study (did you mean" in wrong.stderr

    assert "placebo" in ask("explain", folder, "--edge", EDGES[0]).stdout
    page = tmp_path / "page.html"
    assert ask("report", folder, "--output", page).stdout == f"{page}\n"
    assert all(edge.replace(">", "&gt;") in page.read_text(encoding="utf-8") for edge in EDGES)

    before = ask("verdicts", folder, "--format", "csv").stdout
    assert "items.discount" in ask("validate", folder, "--edge", "items.discount -> events.purchase").stdout
    assert len(ask("verdicts", folder, "--format", "csv").stdout.splitlines()) == len(before.splitlines()) + 1
