"""Real vLLM on the CPU, started as a user would: a whole run, throughput, a second run for nothing, and kills."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner

import whyrank
from whyrank.agents.backend import OpenAIBackend
from whyrank.agents.client import Client, Question
from whyrank.agents.critic import choose_strategy
from whyrank.agents.endpoint import Endpoint
from whyrank.agents.probe import probe
from whyrank.agents.schemas import answer_model
from whyrank.cli import main
from whyrank.datasets.world import small_world, write_world
from whyrank.prompts import RenderedPrompt

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning"),
]

Processes = Callable[[Literal["parent", "session"], int], list[int]]

COMMAND = [sys.executable, "-c", "from whyrank.cli import main; main()"]
MODEL = "SmolLM2-135M-Instruct"


@dataclass
class Server:
    """`whyrank llm serve --engine vllm`, and where it listens."""

    process: subprocess.Popen[str]
    address: str

    def stop(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.communicate(timeout=60)


def free_port() -> int:
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def serve(log: Path, port: int) -> Server:
    arguments = ["llm", "serve", "--engine", "vllm", "--port", str(port), "--log", str(log)]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=None, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address == f"http://127.0.0.1:{port}/v1", log.read_text()[-2000:] if log.exists() else "no log"
    return Server(process, address)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = serve(tmp_path_factory.mktemp("vllm") / "server.log", free_port())
    yield running
    running.stop(signal.SIGINT)


def study_against(folder: Path, address: str, seed: int = 7) -> Path:
    file = write_world(small_world(seed), folder)
    file.write_text(file.read_text(encoding="utf-8") + f'\n[llm]\nbase_url = "{address}"\n', encoding="utf-8")
    return file


def calls(folder: Path) -> list[tuple[Any, ...]]:
    ledger = folder / ".whyrank" / "ledger.sqlite"
    if not ledger.exists():
        return []
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT id, key FROM calls ORDER BY id").fetchall()
    except sqlite3.OperationalError:  # the tables aren't there yet
        return []
    finally:
        connection.close()


def kill_once_it_asks(folder: Path, least: int, victim: Any) -> subprocess.Popen[bytes]:
    """Start proposing, and kill somebody as soon as so many calls are kept; returns the process that proposes."""
    process = subprocess.Popen(
        [*COMMAND, "propose", str(folder), "--source", "llm"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 300
    while len(calls(folder)) < least:
        assert process.poll() is None, "it ended before anything could be killed"
        assert time.monotonic() < deadline, "it never got so far"
        time.sleep(0.02)
    victim(process)
    return process


def test_the_probe_finds_what_vllm_can_do(server: Server) -> None:
    backend = OpenAIBackend(Endpoint(server.address))
    try:
        found = probe(backend)
    finally:
        backend.close()
    assert found.model == MODEL
    assert found.chat
    assert found.schema
    assert found.logprobs
    assert found.likelihood
    assert found.usable


def test_given_texts_are_scored_by_echo_and_the_critic_uses_that(server: Server) -> None:
    with closing(OpenAIBackend(Endpoint(server.address, slots=8))) as backend:
        true, odd = (backend.score("The capital of France is", end) for end in (" Paris.", " purple."))
        split = backend.score("改变价格会", "改变销量。")  # most of these characters are several tokens
        chosen, _ = choose_strategy(Client(backend))
    assert true.route == "echo"
    assert sum(true.logprobs) > sum(odd.logprobs) + 1.0
    assert len(split.logprobs) == 9
    assert chosen == "normalised likelihood"


def test_a_whole_run_and_a_second_one_for_nothing(server: Server, tmp_path: Path) -> None:
    study_against(tmp_path, server.address)
    first = CliRunner().invoke(main, ["run", str(tmp_path), "--source", "llm,exhaustive"])
    assert first.exit_code == 0, first.stderr
    made = calls(tmp_path)
    assert len(made) > 10
    with whyrank.open(tmp_path) as study:
        assert len(study.verdicts())
        again = study.run(sources=("llm", "exhaustive"))
        assert any(h.source == "llm" and h.call_keys for h in study.ledger.hypotheses())
    assert again.calls == 0
    assert again.estimated == 0
    assert calls(tmp_path) == made
    assert (tmp_path / ".whyrank" / "report.html").stat().st_size > 10_000


def test_many_at_a_time_are_faster_than_one_by_one(server: Server) -> None:
    schema = answer_model({"direction": ("forward", "backward", "neither"), "sign": ("+", "-", "unclear")})
    shared = "A shop wants to know what makes people buy. Say of two of its attributes which one drives the other. " * 5

    def rate(count: int, slots: int, first: int) -> float:
        backend = OpenAIBackend(Endpoint(server.address, slots=slots))
        prompts = [RenderedPrompt("rate", f"{shared}Attribute {first + i} and sales?", "t:r") for i in range(count)]
        questions = [Question(prompt, schema, "rate", max_tokens=64) for prompt in prompts]
        try:
            start = time.perf_counter()
            answers = Client(backend, seed=1).ask_all(questions)
            seconds = time.perf_counter() - start
        finally:
            backend.close()
        assert sum(a.answer is not None for a in answers) > 0.9 * count
        return count / seconds

    rate(32, 32, 10_000)  # the grammar is compiled, the shared beginning is in the cache
    one, many = rate(8, 1, 0), rate(128, 32, 1_000)
    sys.stdout.write(f"\none by one {one:.1f} a second, 32 at a time {many:.1f}: {many / one:.1f} times\n")
    assert many >= 8 * one


def test_a_killed_client_asks_only_what_is_missing(server: Server, tmp_path: Path) -> None:
    study_against(tmp_path / "killed", server.address)
    kill_once_it_asks(tmp_path / "killed", 3, lambda process: process.kill()).communicate()
    kept = calls(tmp_path / "killed")
    with whyrank.open(tmp_path / "killed") as study:
        assert study.propose(sources=("llm",))
    after = calls(tmp_path / "killed")
    assert after[: len(kept)] == kept
    assert len({key for _, key in after}) == len(after)


def test_a_killed_server_loses_nothing_that_was_answered(tmp_path: Path, processes: Processes) -> None:
    """Exit 1 and one sentence; what was answered is kept; no process is left behind; with a new server it goes on."""
    port = free_port()
    first = serve(tmp_path / "first.log", port)
    study = tmp_path / "study"
    study_against(study, first.address)
    sessions = processes("parent", first.process.pid)
    assert sessions

    def kill(_: object) -> None:
        os.kill(first.process.pid, signal.SIGKILL)

    asking = kill_once_it_asks(study, 3, kill)
    _, said = asking.communicate(timeout=300)
    first.process.communicate()
    assert asking.returncode == 1
    assert b"Traceback" not in said
    deadline = time.monotonic() + 30
    while any(processes("session", session) for session in sessions):
        assert time.monotonic() < deadline, "a part of the server was left behind"
        time.sleep(0.2)
    kept = calls(study)
    second = serve(tmp_path / "second.log", port)
    try:
        done = CliRunner().invoke(main, ["propose", str(study), "--source", "llm"])
        assert done.exit_code == 0, done.stderr
    finally:
        second.stop(signal.SIGINT)
    after = calls(study)
    assert after[: len(kept)] == kept
    assert len(after) > len(kept)
    assert second.process.returncode == 0
