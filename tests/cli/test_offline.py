"""Questions as files: export, answers from elsewhere, import, step by step, until nothing is left to ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import whyrank
from whyrank.agents.scripted import agree
from whyrank.cli import main
from whyrank.datasets.world import small_world, write_world

pytestmark = pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["llm", *map(str, arguments)])


def answer(line: str) -> dict[str, Any]:
    """Answer one line as a batch program does: everything is likely, the first attribute is named."""
    request = json.loads(line)
    said = agree(request["body"]["response_format"]["json_schema"]["schema"])
    message = {"role": "assistant", "content": json.dumps(said)}
    body = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    return {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def test_a_study_is_proposed_step_by_step_without_a_server(tmp_path: Path) -> None:
    study = tmp_path / "shop"
    write_world(small_world(7), study)
    questions, replies = tmp_path / "questions.jsonl", tmp_path / "replies.jsonl"
    assert run("export", study, questions).exit_code == 2  # which model?
    first = run("export", study, questions, "--model", "big")
    assert first.exit_code == 0, first.stderr
    assert "questions (possible causes" in first.stdout
    said, steps = first.stdout, 0
    while "nothing is left" not in said:
        lines = questions.read_text(encoding="utf-8").splitlines()
        assert lines
        answers = [json.dumps(answer(line)) for line in lines]
        if steps == 0:
            answers[0] = json.dumps(json.loads(answers[0]) | {"response": {"status_code": 500, "body": {}}})
            answers.append("not a reply")
        replies.write_text("\n".join(answers), encoding="utf-8")
        done = run("import", study, replies, "--model", "big", "--next", questions)
        assert done.exit_code == 0, done.stderr
        if steps == 0:
            assert f"{len(lines) - 1} replies kept" in done.stdout
            assert "1 server_error" in done.stdout
            assert "1 lines that are none" in done.stderr
        said, steps = done.stdout, steps + 1
        assert steps < 12
    with whyrank.open(study) as opened:
        assert len([h for h in opened.ledger.hypotheses() if h.source == "llm"]) > 5
        before = len(opened.ledger.hypotheses())
        assert len(opened.propose(sources=("llm",))) == before  # the round is finished: no server is asked


@pytest.mark.parametrize("text", ["", "hello\n", "{}\n"])
def test_a_file_that_holds_no_replies_is_one_clear_error(tmp_path: Path, text: str) -> None:
    write_world(small_world(7), tmp_path)
    file = tmp_path / "replies.jsonl"
    file.write_text(text, encoding="utf-8")
    result = run("import", tmp_path, file, "--model", "big")
    assert result.exit_code == 2
    assert "holds no replies" in result.stderr
    assert run("import", tmp_path, tmp_path / "nowhere.jsonl", "--model", "big").exit_code == 2
