"""What tests of a whole study share: a script in place of its model server, and a look at the machine's processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from whyrank.agents import connect
from whyrank.agents.client import Client
from whyrank.agents.scripted import ScriptedModel

_PLACES = {"parent": 1, "session": 3}


@pytest.fixture
def in_place_of_a_server(monkeypatch: pytest.MonkeyPatch) -> Callable[[ScriptedModel], ScriptedModel]:
    """Has every study ask this script; returns it."""

    def put(scripted: ScriptedModel) -> ScriptedModel:
        @contextmanager
        def open_client(llm: Any, *, store: Any = None, seed: int = 0, language: Any = "en") -> Iterator[Client]:
            yield Client(scripted, store=store, seed=seed, language=language)

        monkeypatch.setattr(connect, "open_client", open_client)
        return scripted

    return put


@pytest.fixture
def processes() -> Callable[[Literal["parent", "session"], int], list[int]]:
    """Returns the processes alive that have this parent, or are of this session."""

    def alive(kind: Literal["parent", "session"], number: int) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            if int(fields[_PLACES[kind]]) == number and fields[0] != "Z":
                found.append(int(entry.parent.name))
        return found

    return alive
