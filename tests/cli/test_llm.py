from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import Result


@contextmanager
def serving(content: str) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A server with one model that answers every request with `content`; yields its address and what it was asked."""
    asked: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": "tiny", "object": "model", "created": 0, "owned_by": "me"}]})

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            message = {"role": "assistant", "content": content}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
            self._send(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "tiny",
                    "usage": usage,
                    "choices": [choice],
                }
            )

        def _send(self, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_check_tells_a_server_that_keeps_to_schemas(whyrank_cli: Callable[..., Result]) -> None:
    with serving('{"word": "zq-1"}') as (address, asked):
        result = whyrank_cli("llm", "check", "--base-url", address, "--no-speed")
    assert result.exit_code == 0, result.stderr
    assert f"server  {address}/v1\nmodel   tiny\n" in result.stdout
    assert re.search(r"^ *schema +yes *$", result.stdout, re.MULTILINE)
    assert re.search(r"^ *likelihood +no +directions rest on votes", result.stdout, re.MULTILINE)
    assert "speed" not in result.stdout
    bound = [request for request in asked if "response_format" in request]
    assert "zq-1" in json.dumps(bound[0]["response_format"])
    assert "zq-1" not in json.dumps(bound[0]["messages"]), "the answer must come from the schema"


def test_check_tells_a_server_that_ignores_schemas(whyrank_cli: Callable[..., Result]) -> None:
    with serving("Yes!\x1b[2J") as (address, _):
        result = whyrank_cli("llm", "check", "--base-url", address)
    assert result.exit_code == 1
    assert re.search(r"^ *schema +no ", result.stdout, re.MULTILINE)
    assert re.search(r"^speed .* with 32 in flight$", result.stdout, re.MULTILINE)
    assert "'tiny' can't be used: it answered 'Yes!" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr


def test_check_tells_programs_the_same(whyrank_cli: Callable[..., Result]) -> None:
    with serving('{"word": "zq-2"}') as (address, _):
        result = whyrank_cli("llm", "check", "--base-url", address, "--format", "json")
    told = json.loads(result.stdout)
    assert (told["usable"], told["schema"], told["likelihood"], told["model"]) == (True, True, False, "tiny")
    assert told["speed"]["in_flight"] == 32
    assert set(told["missing"]) == {"logprobs", "likelihood", "embeddings"}


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("http://192.0.2.1/v1", 2, "is not on this machine"),
        ("ftp://127.0.0.1", 2, "is not like 'http://127.0.0.1:8000/v1'"),
        ("http://127.0.0.1:9", 1, "http://127.0.0.1:9/v1"),
    ],
)
def test_check_refuses_addresses(whyrank_cli: Callable[..., Result], address: str, code: int, said: str) -> None:
    result = whyrank_cli("llm", "check", "--base-url", address)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr
