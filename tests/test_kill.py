"""kill -9 in the middle of the work: nothing is done twice, and the end is the same."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from click.testing import CliRunner

import whyrank
from whyrank.cli import main
from whyrank.datasets.world import small_world, write_world

pytestmark = pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")  # small arms, and said so

COMMAND = [sys.executable, "-c", "from whyrank.cli import main; main()"]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(ledger: Path, query: str) -> list[tuple[object, ...]]:
    if not ledger.exists():
        return []
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # the tables aren't there yet
        return []
    finally:
        connection.close()


def kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool], seconds: float = 120.0) -> None:
    """Kill the process as soon as it has got so far."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it never got so far"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def verdicts(folder: Path) -> str:
    result = CliRunner().invoke(main, ["verdicts", str(folder), "--format", "csv"])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_kill_while_validating_loses_only_what_was_in_flight(tmp_path: Path) -> None:
    write_world(small_world(7), tmp_path / "killed")
    write_world(small_world(7), tmp_path / "whole")
    ledger = tmp_path / "killed" / ".whyrank" / "ledger.sqlite"
    estimates = "SELECT id, label, record FROM estimates ORDER BY id"
    kill_when(
        start("run", str(tmp_path / "killed"), "--source", "exhaustive"), lambda: len(rows(ledger, estimates)) > 0
    )
    kept = rows(ledger, estimates)
    assert kept
    assert rows(ledger, "SELECT count(*) FROM verdicts") == [(0,)]
    with whyrank.open(tmp_path / "killed") as study:
        summary = study.run(sources=("exhaustive",))
    after = rows(ledger, estimates)
    assert after[: len(kept)] == kept
    assert summary.estimated == len(after) - len(kept)
    assert len({label for _, label, _ in after}) == len(after)
    with whyrank.open(tmp_path / "whole") as study:
        study.run(sources=("exhaustive",))
    assert verdicts(tmp_path / "killed") == verdicts(tmp_path / "whole")


def test_two_runs_at_once_end_well(tmp_path: Path) -> None:
    write_world(small_world(7), tmp_path)
    both = [start("run", str(tmp_path), "--source", "exhaustive") for _ in range(2)]
    assert [process.wait(timeout=240) for process in both] == [0, 0]
    labels = rows(tmp_path / ".whyrank" / "ledger.sqlite", "SELECT label FROM estimates")
    assert len(set(labels)) == len(labels) > 20
    assert len(verdicts(tmp_path).splitlines()) == len(labels) + 1


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.model
@pytest.mark.timeout(1200)
def test_a_kill_while_the_model_is_asked(
    tmp_path: Path, processes: Callable[[Literal["parent", "session"], int], list[int]]
) -> None:
    """No call that was answered is sent again, hypotheses carry their calls, and no server is left behind."""
    for name in ("killed", "whole"):
        study_file = write_world(small_world(7), tmp_path / name)
        study_file.write_text(study_file.read_text("utf-8") + '\n[llm]\ncritic = "off"\n', "utf-8")
    ledger = tmp_path / "killed" / ".whyrank" / "ledger.sqlite"
    calls = "SELECT id, key, record FROM calls ORDER BY id"
    process = start("propose", str(tmp_path / "killed"), "--source", "llm")
    servers: list[int] = []

    def enough() -> bool:
        servers[:] = processes("parent", process.pid) or servers
        return len(rows(ledger, calls)) >= 2

    kill_when(process, enough)
    deadline = time.monotonic() + 20
    while not all(gone(pid) for pid in servers):
        assert time.monotonic() < deadline, "the model server outlived its parent"
        time.sleep(0.1)
    kept = rows(ledger, calls)
    with whyrank.open(tmp_path / "killed") as study:
        resumed = study.propose(sources=("llm",))
    after = rows(ledger, calls)
    assert after[: len(kept)] == kept
    assert len({key for _, key, _ in after}) == len(after)
    with whyrank.open(tmp_path / "whole") as study:
        whole = study.propose(sources=("llm",))
        assert whole == resumed
        calls_of = [study.ledger.get(key) for h in whole for key in h.call_keys]
    assert calls_of
    for call in calls_of:
        assert call is not None
        assert call.prompt
        assert call.prompt_hash
        assert call.model
        assert call.raw_reply
    before = len(after)
    with whyrank.open(tmp_path / "killed") as study:
        study.propose(sources=("llm",))
    assert len(rows(ledger, calls)) == before
