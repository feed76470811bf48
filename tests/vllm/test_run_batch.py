"""Files of questions, answered by vLLM's own `run-batch`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import whyrank
from whyrank.agents.vllm_engine import Serving, serving_environment, vllm_command
from whyrank.agents.vllm_environment import vllm_environment
from whyrank.agents.vllm_models import weights_of
from whyrank.datasets.world import small_world, write_world
from whyrank.offline import propose_offline

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning"),
]


def run_batch(questions: Path, replies: Path) -> None:
    environment = vllm_environment()
    weights, serving = weights_of("auto", environment), Serving(slots=32, context=4096, port=0, key="")
    command = vllm_command(environment, weights, serving)
    flags = command[command.index("--model") :]
    for name in ("--host", "--port"):
        del flags[flags.index(name) : flags.index(name) + 2]
    flags.remove("--disable-uvicorn-access-log")
    module = [str(environment.python), "-P", "-m", "vllm.entrypoints.openai.run_batch"]
    done = subprocess.run(
        [*module, "-i", questions, "-o", replies, *flags],
        env=serving_environment(environment, weights, serving),
        cwd=questions.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_run_batch_answers_is_taken_in(tmp_path: Path) -> None:
    file = write_world(small_world(7), tmp_path)
    questions, replies, after = (tmp_path / name for name in ("q.jsonl", "a.jsonl", "next.jsonl"))
    model = "SmolLM2-135M-Instruct"
    with whyrank.open(file) as study:
        first = propose_offline(study.data, study.ledger, questions=questions, model=model)
        assert (first.what, first.pending) == ("possible causes", len(questions.read_text().splitlines()))
        run_batch(questions, replies)
        second = propose_offline(study.data, study.ledger, replies=replies, questions=after, model=model)
        assert (second.imported, second.failures, second.unknown, second.unreadable) == (first.pending, {}, 0, 0)
        assert second.what == "directions"
        asked = {json.loads(line)["custom_id"] for line in questions.read_text().splitlines()}
        assert asked.isdisjoint(json.loads(line)["custom_id"] for line in after.read_text().splitlines())
        again = propose_offline(study.data, study.ledger, replies=replies, model=model)
        assert (again.imported, again.pending) == (0, second.pending)
