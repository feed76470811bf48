"""The language model's rounds in a whole run: verdicts are read, questions follow from them, nothing is asked twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import whyrank
from whyrank.agents.scripted import ScriptedModel, Sent, agree
from whyrank.cli import main
from whyrank.datasets.world import small_world, write_world
from whyrank.edge import Contrast, Edge
from whyrank.errors import InputError
from whyrank.estimators.estimate import Estimate, Judgement
from whyrank.hypothesis_rounds import lessons_of

pytestmark = pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")  # small arms, and said so


def agreeable(sent: Sent) -> Mapping[str, Any]:
    return agree(sent.params["schema"])


@pytest.fixture
def model(in_place_of_a_server: Callable[[ScriptedModel], ScriptedModel]) -> ScriptedModel:
    return in_place_of_a_server(ScriptedModel(agreeable, slots=4))


def shop(folder: Path, **llm: object) -> Path:
    file = write_world(small_world(7), folder)
    lines = "".join(f"{key} = {value!r}\n" for key, value in llm.items())
    file.write_text(
        file.read_text(encoding="utf-8") + f"\n[llm]\n{lines}\n[validation]\naudit = false\n", encoding="utf-8"
    )
    return folder


def csv(folder: Path) -> str:
    result = CliRunner().invoke(main, ["verdicts", str(folder), "--format", "csv"])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_second_round_asks_what_the_verdicts_raise(model: ScriptedModel, tmp_path: Path) -> None:
    with whyrank.open(shop(tmp_path)) as study:
        summary = study.run(sources=("llm",), rounds=2)
        assert [r.number for r in summary.rounds] == [1, 2]
        assert summary.rounds[1].proposed > 0
        later = [h for h in study.ledger.hypotheses() if h.round == 2]
        assert later
        judged = {j.estimate.contrast.edge for j in study.ledger.judgements()}
        assert {h.edge for h in later} <= judged
        asked = len(model.sent)
        texts = [sent.text for sent in model.sent if "confirmed" in sent.text or "undecided" in sent.text]
        assert texts  # the verdicts are in the prompts of the second round
        again = study.run(sources=("llm",), rounds=2)
    assert (again.calls, again.cached, again.estimated) == (0, 0, 0)
    assert again.rounds == summary.rounds
    assert len(model.sent) == asked


def test_rounds_one_by_one_are_rounds_at_once(model: ScriptedModel, tmp_path: Path) -> None:
    with whyrank.open(shop(tmp_path / "steps")) as study:
        study.run(sources=("llm",), rounds=1)
    with whyrank.open(tmp_path / "steps") as study:
        more = study.run(sources=("llm",), rounds=2)
        assert [r.number for r in more.rounds] == [1, 2]
    with whyrank.open(shop(tmp_path / "once")) as study:
        study.run(sources=("llm",), rounds=2)
    assert csv(tmp_path / "steps") == csv(tmp_path / "once")


def test_a_stop_in_the_second_round_asks_only_the_rest(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with whyrank.open(shop(tmp_path / "whole")) as study:
        study.run(sources=("llm",), rounds=2)
    whole = len(model.sent)
    count = 0

    def breaking(sent: Sent) -> Mapping[str, Any]:
        nonlocal count
        count += 1
        if count == whole - 2:
            raise KeyboardInterrupt
        return agreeable(sent)

    model.script = breaking
    with whyrank.open(shop(tmp_path / "stopped")) as study, pytest.raises(KeyboardInterrupt):
        study.run(sources=("llm",), rounds=2)
    model.script = agreeable
    before = len(model.sent)
    with whyrank.open(tmp_path / "stopped") as study:
        study.run(sources=("llm",), rounds=2)
    assert len(model.sent) - before <= 8  # what was in flight, and the rest
    assert csv(tmp_path / "stopped") == csv(tmp_path / "whole")


def test_budgets_of_calls_and_of_edges_are_kept(model: ScriptedModel, tmp_path: Path) -> None:
    with whyrank.open(shop(tmp_path, max_edges=4, max_calls=60)) as study:
        summary = study.run(sources=("llm",), rounds=3)
        edges = {h.edge for h in study.ledger.hypotheses()}
    assert sum(r.kept for r in summary.rounds) <= 4
    assert len(edges) <= 4
    assert len(model.sent) <= 60 + 8
    assert any(r.left_out for r in summary.rounds)


def test_proposing_alone_tests_nothing(model: ScriptedModel, tmp_path: Path) -> None:
    with whyrank.open(shop(tmp_path)) as study:
        found = study.propose(sources=("llm",))
        assert {h.round for h in found} == {1}
        assert study.ledger.verdict_sets() == []


def test_the_command_line_tells_the_rounds(model: ScriptedModel, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", str(shop(tmp_path)), "--source", "llm", "--rounds", "2"])
    assert result.exit_code == 0, result.stderr
    assert "round 1: " in result.stdout
    assert "round 2: " in result.stdout
    found = re.findall(r"round \d: .* to test, (\d+) contrasts validated; \d+ calls", result.stdout)
    assert len(found) == 2
    assert sum(map(int, found)) == csv(tmp_path).count(",validated,") > 0
    wrong = CliRunner().invoke(main, ["run", str(tmp_path), "--rounds", "0"])
    assert wrong.exit_code == 2
    with whyrank.open(tmp_path) as study, pytest.raises(InputError, match="0 rounds propose nothing"):
        study.run(rounds=0)


def test_a_chinese_study_runs_through(model: ScriptedModel, tmp_path: Path) -> None:
    write_world(small_world(7, language="zh"), tmp_path)
    with whyrank.open(tmp_path) as study:
        assert study.config.study.language == "zh"
        study.run(sources=("llm",), rounds=2)
        reasons = " ".join(study.verdicts()["reasons"])
    assert "效应" in reasons
    assert model.sent
    assert all("同事" in sent.text and "Dear" not in sent.text for sent in model.sent)


@pytest.mark.model
@pytest.mark.timeout(1500)
def test_a_chinese_study_runs_through_with_the_real_model(tmp_path: Path) -> None:
    """The embedded model, Chinese questions, and nothing asked again."""
    write_world(small_world(7, language="zh"), tmp_path)
    with whyrank.open(tmp_path) as study:
        summary = study.run(sources=("llm", "exhaustive"), rounds=1)
        assert summary.calls > 10
        assert summary.rounds[0].number == 1
        proposed = [h for h in study.ledger.hypotheses() if h.source == "llm"]
        assert proposed
        assert any(h.likelihood is not None for h in proposed)  # too small a model to vote on directions
        again = study.run(sources=("llm", "exhaustive"), rounds=1)
        assert (again.calls, again.estimated) == (0, 0)
        assert "效应" in " ".join(study.verdicts()["reasons"])


def judged(verdict: Any, label: str = "", **changes: Any) -> Judgement:
    given: dict[str, Any] = {
        "estimate": 1.0, "ci_low": 0.5, "ci_high": 1.5, "p_value": 0.01, "naive": 1.1, "naive_significant": True,
        "smaller_arm": 40,
    } | changes  # fmt: skip
    sign = given.pop("claimed_sign", "")
    contrast = Contrast(Edge.parse("items.a -> events.y"), level=label, bracket=bool(label))
    estimate = Estimate.__new__(Estimate)
    for name, value in ({"contrast": contrast} | given).items():
        object.__setattr__(estimate, name, value)
    return Judgement(estimate, verdict, (), 0.01, sign, "llm (round 1)")


def test_verdicts_become_lessons() -> None:
    assert lessons_of([judged("validated", "b"), judged("inconclusive", "c")])[0].verdict == "validated"
    assert lessons_of([judged("refuted", "b"), judged("inconclusive", "c")])[0].verdict == "inconclusive"
    gone = lessons_of([judged("refuted", estimate=0.1, ci_low=-0.2, ci_high=0.4, p_value=0.5)])[0]
    assert gone.collapsed
    assert not gone.reversed
    other = lessons_of([judged("refuted", claimed_sign="-")])[0]
    assert other.reversed
    assert other.found
    contrast = Contrast(Edge.parse("items.a -> events.y | users.b"))
    plain, modified = lessons_of([judged("inconclusive"), judged("validated", contrast=contrast)])
    assert (plain.varies, modified.varies) == (True, False)
    thin = lessons_of([judged("inconclusive", smaller_arm=3)])[0]
    assert thin.thin
