"""The whole flow on a small simulated shop, from Python and from the command line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import whyrank
from whyrank.cli import main
from whyrank.datasets.world import small_world, write_world
from whyrank.errors import InputError, WhyRankWarning
from whyrank.estimators.estimate import VERDICT_COLUMNS
from whyrank.study import Study

pytestmark = pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")  # small arms, and said so


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A small shop that was run once."""
    folder = tmp_path_factory.mktemp("shop")
    write_world(small_world(7), folder)
    study = whyrank.open(folder)
    study.run(sources=("exhaustive",))
    study.close()
    return study


def csv(folder: Path) -> str:
    result = CliRunner().invoke(main, ["verdicts", str(folder), "--format", "csv"])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def folder_of(study: Study) -> Path:
    return study.config.path.parent


def test_the_verdict_table_is_the_contract_s(finished: Study) -> None:
    table = finished.verdicts()
    assert tuple(table.columns) == VERDICT_COLUMNS
    assert table["edge"].is_unique
    assert set(table["verdict"]) <= {"validated", "refuted", "inconclusive", "unidentifiable"}
    assert set(table["source"]) == {"exhaustive (round 1)"}
    truth = pd.read_csv(folder_of(finished) / "truth.csv", keep_default_na=False).set_index("edge")
    validated = table.loc[table["verdict"] == "validated", "edge"]
    assert len(validated) >= 6
    assert (truth.loc[validated, "causal"] == 1).all()


def test_a_second_run_does_nothing_again(finished: Study) -> None:
    before = csv(folder_of(finished))
    with whyrank.open(folder_of(finished)) as study:
        summary = study.run(sources=("exhaustive",))
        assert (summary.estimated, summary.calls) == (0, 0)
        assert len(study.ledger.verdict_sets()) == 1
    assert csv(folder_of(finished)) == before


def test_only_validated_edges_move_a_ranking(finished: Study) -> None:
    table, weights = finished.verdicts(), finished.weights()
    moving = weights.loc[weights["weight"] != 0]
    assert set(moving["verdict"]) == {"validated"}
    assert set(moving["attribute"]) == set(table.loc[table["verdict"] == "validated", "cause"])
    ranker = finished.ranker()
    user = str(ranker.data.user_ids[0])
    listed = ranker.recommend([user], k=5)
    for item, score in zip(listed["item_id"], listed["score"], strict=True):
        parts = ranker.explain(user, item)
        assert parts.base + sum(c.contribution for c in parts.contributions) == pytest.approx(score, abs=1e-9)


def test_verdicts_trace_back_to_data_and_hypothesis(finished: Study) -> None:
    trace = finished.explain("items.price -> events.purchase")
    assert trace["hypotheses"][0]["source"] == "exhaustive"
    assert {check["name"] for check in trace["checks"]} >= {"overlap", "placebo", "subset", "sensitivity"}
    assert trace["fingerprint"]["fingerprint"] == finished.data.fingerprint


def test_row_order_changes_no_byte_of_the_verdicts(finished: Study, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for source in folder_of(finished).glob("[!.]*.*"):
        if source.suffix == ".csv":
            head, *rows = source.read_text(encoding="utf-8").splitlines()
            (tmp_path / source.name).write_text("\n".join([head, *rng.permutation(rows)]) + "\n", encoding="utf-8")
        elif source.suffix == ".toml":
            (tmp_path / source.name).write_bytes(source.read_bytes())
    with whyrank.open(tmp_path) as study:
        study.propose(sources=("exhaustive",))
        study.validate(edges=["users.income -> events.purchase"])  # and in two goes
        study.validate()
    assert csv(tmp_path) == csv(folder_of(finished))


def test_another_seed_gives_other_numbers_but_the_same_findings(finished: Study, tmp_path: Path) -> None:
    for source in folder_of(finished).glob("[!.]*.*"):
        text = source.read_text(encoding="utf-8")
        (tmp_path / source.name).write_text(text.replace("seed = 7", "seed = 8"), encoding="utf-8")
    edge = "items.discount -> events.purchase"
    with whyrank.open(tmp_path) as study:
        (now,) = study.validate(edges=[edge]).to_dict("records")
    (before,) = (row for row in finished.verdicts().to_dict("records") if row["edge"] == edge)
    assert now["estimate"] != before["estimate"]
    assert abs(now["estimate"] - before["estimate"]) < 2 * before["se"]


def test_changed_data_are_judged_again_and_until_then_warned_about(finished: Study, tmp_path: Path) -> None:
    for source in folder_of(finished).glob("[!.]*.*"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    edge = "users.income -> events.purchase"
    with whyrank.open(tmp_path) as study:
        study.validate(edges=[edge])
    events = (tmp_path / "events.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "events.csv").write_text("\n".join(events[:-500]) + "\n", encoding="utf-8")
    with whyrank.open(tmp_path) as study:
        with pytest.warns(WhyRankWarning, match="changed since its verdicts were reached"):
            study.ranker()
        table = study.validate()
        assert table["n"].tolist() == [7_500]
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*changed since")
            study.ranker()


def test_nothing_judged_yet_is_said(tmp_path: Path) -> None:
    write_world(small_world(7), tmp_path)
    with whyrank.open(tmp_path) as study:
        with pytest.raises(InputError, match="nothing judged yet: run `whyrank run"):
            study.verdicts()
        with pytest.raises(InputError, match="nothing is proposed yet"):
            study.validate()
        with pytest.raises(InputError, match=r"can't be tested: this study has no 'items.prize'.*'items.price'"):
            study.validate(edges=["items.prize -> events.purchase"])


def test_reasons_come_in_the_language_of_the_study(tmp_path: Path) -> None:
    write_world(small_world(7, language="zh"), tmp_path)
    with whyrank.open(tmp_path) as study:
        table = study.validate(edges=["users.income -> events.purchase"])
        assert "所有反驳尝试均未成功" in table["reasons"].iloc[0]
        ranker = study.ranker()
        assert "热度" in ranker.reasons(str(ranker.data.user_ids[0]), str(ranker.data.item_ids[0]))[-1]


def test_the_report_stands_alone(finished: Study) -> None:
    page = (folder_of(finished) / ".whyrank" / "report.html").read_text(encoding="utf-8")
    assert "items.discount" in page
    assert "src=" not in page
    assert "http-equiv" in page


def test_a_suggested_instrument_is_taken_up_later_and_not_believed(tmp_path: Path) -> None:
    """The edge is unidentifiable until somebody suggests an instrument; then it is estimated anew, and only then."""
    rng = np.random.default_rng(2)
    items, rows = 200, 4_000
    quality, z = rng.normal(size=(2, items))
    t = z + quality + rng.normal(size=items)
    user, item = rng.integers(0, 100, rows), rng.integers(0, items, rows)
    pd.DataFrame({"user": range(100)}).to_csv(tmp_path / "users.csv", index=False)
    pd.DataFrame({"item": range(items), "t": t, "z": z}).to_csv(tmp_path / "items.csv", index=False)
    events = {"user": user, "item": item, "y": 0.5 * t[item] + quality[item] + rng.normal(size=rows)}
    pd.DataFrame(events).to_csv(tmp_path / "events.csv", index=False)
    (tmp_path / "whyrank.toml").write_text(
        '[users]\npath = "users.csv"\nkey = "user"\n[items]\npath = "items.csv"\nkey = "item"\n'
        '[events]\npath = "events.csv"\nuser = "user"\nitem = "item"\noutcomes = ["y"]\n'
        '[graph]\nunmeasured = ["items.quality -> items.t, events.y"]\n',
        encoding="utf-8",
    )
    claims = tmp_path / "claims.jsonl"
    edge = "items.t -> events.y"
    claims.write_text(f'{{"edge": "{edge}", "instruments": ["items.z"]}}\n', encoding="utf-8")
    with whyrank.open(tmp_path) as study:
        first = study.run(sources=("exhaustive",))
        assert study.verdicts().set_index("edge").loc[edge, "verdict"] == "unidentifiable"
        second = study.run(sources=(str(claims),))
        row = study.verdicts().set_index("edge").loc[edge]
        assert (first.estimated, second.estimated) == (2, 1)
        assert (row["verdict"], row["estimator"]) == ("inconclusive", "IV")
        assert abs(row["estimate"] - 0.5) <= 3 * row["se"]
        assert "nobody confirmed" in row["reasons"]
        assert study.explain(edge)["estimate"]["estimator"] == "IV"
        assert study.run(sources=(str(claims),)).estimated == 0
