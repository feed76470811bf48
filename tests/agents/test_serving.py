"""The embedded server: what can go wrong before a model is loaded, and the real thing."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from whyrank.agents.calls import MemoryStore
from whyrank.agents.connect import open_backend, open_client
from whyrank.agents.probe import probe
from whyrank.agents.propose import propose_llm
from whyrank.agents.serving import embedded_server, model_file, serve_forever
from whyrank.config import LlmConfig
from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.errors import InputError, MissingExtra, ServerError

embedded = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed")


def test_without_the_extra_the_message_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'whyrank\[embedded\]'"), embedded_server():
        pass


@pytest.mark.parametrize("name", ["qwen", "nowhere.gguf"])
def test_a_model_is_auto_or_a_gguf_file(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is not a .gguf file"):
        model_file(name)


@embedded
def test_a_broken_model_file_is_one_error_with_the_log(tmp_path: Path) -> None:
    broken, log = tmp_path / "broken.gguf", tmp_path / "log.txt"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(ServerError, match=r"(?s)did not start: .*log\.txt"), embedded_server(str(broken), log=log):
        pass
    assert log.stat().st_size > 0


@pytest.mark.model
@embedded
def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerError, match="did not start"):
            serve_forever(port=taken.getsockname()[1])


@pytest.mark.model
@embedded
def test_the_embedded_server_is_private_and_enforces_schemas() -> None:
    with open_backend(LlmConfig()) as backend:
        assert backend.endpoint.base_url.startswith("http://127.0.0.1:")
        assert backend.model.startswith("SmolLM2-135M")
        found = probe(backend)
        without_key = subprocess.run(
            [sys.executable, "-c", _ASK_WITHOUT_KEY, backend.endpoint.base_url],
            capture_output=True,
            text=True,
            check=True,
        )
    assert (found.chat, found.schema, found.logprobs, found.likelihood) == (True, True, True, True)
    assert not found.embeddings
    assert found.speed is not None
    assert found.speed.alone > 0
    assert without_key.stdout.strip() == "401"


@pytest.mark.model
@embedded
def test_no_orphan_is_left_by_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _SERVE_AND_WAIT, str(tmp_path / "log.txt")], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert _listens(port)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 15
    while _listens(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _listens(port)


@pytest.mark.model
@pytest.mark.slow
@embedded
def test_the_smallest_model_proposes_and_a_second_run_asks_nothing(shop: Callable[..., StudyData]) -> None:
    attributes = (
        Attribute("users.new_user", "binary", levels=("0", "1"), reference="0", description="first visit"),
        Attribute("items.price", "numeric", description="shelf price in EUR"),
        Attribute("items.free_shipping", "binary", levels=("0", "1"), reference="0"),
        Attribute("items.brand", "categorical", levels=("basic", "plus"), reference="basic"),
        Attribute("events.position", "numeric", description="place on the page"),
    )
    data, store = shop(attributes=attributes), MemoryStore()
    with open_client(data.config.llm, store=store, seed=7) as client:
        first = propose_llm(data, client, seed=7)
        second = propose_llm(data, client, seed=7)
    assert first.unanswered < first.considered == 10
    assert 1 <= len(first.hypotheses) <= 19
    assert {h.edge.cause for h in first.hypotheses} <= set(attributes_names(attributes))
    assert second.hypotheses == first.hypotheses
    assert second.usage.calls == 0
    assert second.usage.cached == first.usage.calls == len(store.records)
    assert all(record.raw_reply and record.seconds > 0 for record in store.records.values())


def attributes_names(attributes: tuple[Attribute, ...]) -> list[str]:
    return [a.name for a in attributes]


def _listens(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


_SERVE_AND_WAIT = """
import pathlib, sys, time
from urllib.parse import urlsplit
from whyrank.agents.serving import embedded_server
with embedded_server(log=pathlib.Path(sys.argv[1])) as endpoint:
    print(urlsplit(endpoint.base_url).port, flush=True)
    time.sleep(600)
"""

_ASK_WITHOUT_KEY = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/chat/completions", data=b"{}"))
except urllib.error.HTTPError as error:
    print(error.code)
"""
