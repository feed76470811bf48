"""A small study in memory, and a server on loopback that says what a test wants it to say."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from whyrank.config import EventsConfig, GraphConfig, ItemsConfig, StudyConfig, StudySection, UsersConfig
from whyrank.datasets.study_data import Attribute, Outcome, StudyData

ATTRIBUTES = (
    Attribute("users.new_user", "binary", levels=("0", "1"), reference="0", description="first visit to the shop"),
    Attribute("users.age", "numeric"),
    Attribute("users.region", "categorical", levels=("north", "south", "west"), reference="north"),
    Attribute("users.loyalty", "ordinal", levels=("none", "silver", "gold"), reference="none", role="modifier"),
    Attribute("items.price", "numeric", description="shelf price in EUR"),
    Attribute("items.free_shipping", "binary", levels=("0", "1"), reference="0", description="delivery costs nothing"),
    Attribute("items.brand", "categorical", levels=("basic", "plus", "premium"), reference="basic"),
    Attribute("items.season", "categorical", levels=("summer", "winter"), reference="summer", role="confounder"),
    Attribute("items.legacy", "binary", levels=("0", "1"), reference="0", role="ignore"),
    Attribute("events.position", "numeric", description="place on the page, 1 is the top"),
)


def make_shop(
    *,
    attributes: tuple[Attribute, ...] = ATTRIBUTES,
    graph: GraphConfig | None = None,
    titles: tuple[str, ...] = ("Blue mug", "Red lamp for item-0007", "Green chair"),
    language: Literal["en", "zh"] = "en",
) -> StudyData:
    config = StudyConfig(
        path=Path("shop/whyrank.toml"),
        study=StudySection(name="shop", language=language),
        users=UsersConfig(path="users.csv", key="user_id"),
        items=ItemsConfig(path="items.csv", key="item_id", text=("title",)),
        events=EventsConfig(
            path="events.csv",
            user="user_id",
            item="item_id",
            time="ts",
            outcomes=("click", "spend"),
            context=("position",),
        ),
        graph=graph or GraphConfig(),
    )
    item_ids = np.array([f"item-{i:04d}" for i in range(6, 6 + len(titles))], dtype=object)
    return StudyData(
        config=config,
        path=config.path,
        users=pd.DataFrame(index=range(2)),
        items=pd.DataFrame({"title": list(titles)}),
        events=pd.DataFrame({"user": [0, 1], "item": [0, 1], "click": [0.0, 1.0], "spend": [0.0, 9.5]}),
        user_ids=np.array(["person-1", "person-2"], dtype=object),
        item_ids=item_ids,
        attributes={a.name: a for a in attributes},
        outcomes={
            "events.click": Outcome("events.click", "probability"),
            "events.spend": Outcome("events.spend", "mean", "EUR spent"),
        },
        texts=("title",),
        findings=(),
        dropped={},
        fingerprint="",
    )


Body = dict[str, Any]


@dataclass
class Said:
    """One HTTP reply; `hang` keeps the client waiting until the server stops."""

    status: int = 200
    body: Body | str = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False


@dataclass
class FakeServer:
    url: str
    requests: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def completion(content: str | None, *, finish: str = "stop", **message: Any) -> Body:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "fake",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }


@contextmanager
def fake_server(answer: Callable[[int, Body], Said | Body]) -> Iterator[FakeServer]:
    """Serve; `answer` is given the number of the chat request (from 0) and its body."""
    stop = threading.Event()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(
                Said(
                    body={"object": "list", "data": [{"id": "fake", "object": "model", "created": 1, "owned_by": "x"}]}
                )
            )

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(body)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
            said = answer(number, body)
            self._send(said if isinstance(said, Said) else Said(body=said))

        def _send(self, said: Said) -> None:
            if said.hang:
                stop.wait(20)
                self.close_connection = True
                return
            payload = (said.body if isinstance(said.body, str) else json.dumps(said.body)).encode()
            self.send_response(said.status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(payload)),
                **said.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = FakeServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            stop.set()
            http.shutdown()
            thread.join()


@pytest.fixture
def shop() -> Callable[..., StudyData]:
    """Makes the study; keyword arguments change it."""
    return make_shop


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int, Body], Any]], FakeServer]]:
    """Starts a fake server that stops with the test."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(fake_server(answer))


@pytest.fixture
def say() -> type[Said]:
    """One HTTP reply that isn't a plain completion."""
    return Said


@pytest.fixture
def completed() -> Callable[..., Body]:
    """A chat completion's body."""
    return completion
