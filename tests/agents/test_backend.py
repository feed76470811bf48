"""The wire, against a server on loopback that misbehaves."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import BaseModel

from whyrank.agents.backend import CallFailed, OpenAIBackend, Reply
from whyrank.agents.client import Client, Question
from whyrank.agents.connect import open_client
from whyrank.agents.endpoint import Endpoint, check_address
from whyrank.agents.schemas import answer_model, json_schema
from whyrank.config import LlmConfig
from whyrank.errors import InputError, RemoteRefused, ServerError
from whyrank.prompts import RenderedPrompt

Serve = Callable[[Callable[[int, dict[str, Any]], Any]], Any]
WORD = answer_model({"word": ("yes", "no")})
PARAMS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 20, "seed": 3, "schema": json_schema(WORD)}
HELLO = [{"role": "user", "content": "hello"}]


def ask(url: str, *, timeout: float = 5, retries: int = 0, key: str = "none") -> Reply:
    with closing(OpenAIBackend(Endpoint(url, api_key=key), timeout=timeout, retries=retries)) as backend:
        return backend.send(HELLO, PARAMS)


def test_the_request_holds_the_schema_and_the_settings(serve: Serve, completed: Callable[..., Any]) -> None:
    server = serve(lambda n, body: completed('{"word":"yes"}'))
    reply = ask(server.url)
    (body,) = server.requests
    assert body["model"] == "fake"
    assert body["messages"] == HELLO
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.0, 20, 3)
    assert "max_completion_tokens" not in body
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": json_schema(WORD)},
    }
    assert (reply.content, reply.finish, reply.tokens_in, reply.tokens_out) == ('{"word":"yes"}', "stop", 5, 7)


def test_reasoning_and_cut_replies_arrive_whole(serve: Serve, completed: Callable[..., Any]) -> None:
    said = [
        completed(None, reasoning_content="thinking"),
        completed(None, reasoning="thinking too"),
        completed('{"word": "y', finish="length"),
        completed("\n" * 60, finish="length", reasoning_content="hm"),
    ]
    server = serve(lambda n, body: said[n])
    with closing(OpenAIBackend(Endpoint(server.url), retries=0)) as backend:
        replies = [backend.send(HELLO, PARAMS) for _ in said]
    assert [(r.content, r.reasoning, r.finish) for r in replies] == [
        ("", "thinking", "stop"),
        ("", "thinking too", "stop"),
        ('{"word": "y', "", "length"),
        ("\n" * 60, "hm", "length"),
    ]
    assert all('"finish_reason"' in r.raw for r in replies)


def test_busy_and_broken_servers_are_tried_again(
    serve: Serve, say: Callable[..., Any], completed: Callable[..., Any]
) -> None:
    def answer(n: int, body: dict[str, Any]) -> Any:
        return [
            say(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.01"}),
            say(503, {"error": {"message": "loading"}}, {"Retry-After": "0.01"}),
            completed('{"word":"no"}'),
        ][n]

    server = serve(answer)
    assert ask(server.url, retries=3).content == '{"word":"no"}'
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "overloaded"), (500, "server_error"), (400, "rejected"), (422, "rejected")]
)
def test_a_request_that_gets_no_reply_fails_by_kind(
    serve: Serve, say: Callable[..., Any], status: int, kind: str
) -> None:
    server = serve(lambda n, body: say(status, {"error": {"message": "no such luck"}}, {"Retry-After": "0.01"}))
    with pytest.raises(CallFailed, match="no such luck") as failed:
        ask(server.url)
    assert failed.value.kind == kind


def test_a_wrong_key_stops_everything_and_is_not_repeated(serve: Serve, say: Callable[..., Any]) -> None:
    server = serve(lambda n, body: say(401, {"error": {"message": f"wrong key sk-{'secret'}"}}))
    with pytest.raises(ServerError, match=r"status 401.*WHYRANK_API_KEY") as failed:
        ask(server.url, key="sk-secret")
    assert "sk-secret" not in str(failed.value)
    assert server.headers[0]["authorization"] == "Bearer sk-secret"


def test_a_hanging_server_times_out(serve: Serve, say: Callable[..., Any]) -> None:
    server = serve(lambda n, body: say(hang=True))
    with pytest.raises(CallFailed) as failed:
        ask(server.url, timeout=0.3)
    assert failed.value.kind == "timeout"


@pytest.mark.parametrize("body", ["<html>hello</html>", "{}", '{"choices": []}', '{"choices": null}', "[1]", "null"])
def test_what_is_no_chat_completion_is_a_failure_not_a_crash(serve: Serve, say: Callable[..., Any], body: str) -> None:
    server = serve(lambda n, request: say(200, body))
    with pytest.raises(CallFailed):
        ask(server.url)


def test_redirects_are_not_followed(serve: Serve, say: Callable[..., Any], completed: Callable[..., Any]) -> None:
    elsewhere = serve(lambda n, body: completed('{"word":"yes"}'))
    server = serve(lambda n, body: say(307, {}, {"Location": elsewhere.url + "/chat/completions"}))
    with pytest.raises((CallFailed, ServerError)):
        ask(server.url)
    assert elsewhere.requests == []


def test_proxies_are_not_used_for_loopback(
    serve: Serve, completed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server = serve(lambda n, body: completed('{"word":"yes"}'))
    assert ask(server.url).content == '{"word":"yes"}'


def test_tracing_is_off_whatever_the_environment_says(
    serve: Serve, completed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "true")
    server = serve(lambda n, body: completed('{"word":"yes"}'))
    ask(server.url)
    assert os.environ["LANGSMITH_TRACING"] == os.environ["LANGCHAIN_TRACING_V2"] == "false"


def test_nobody_there_is_one_clear_error() -> None:
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:9"):
        OpenAIBackend(Endpoint("http://127.0.0.1:9/v1"), retries=0)


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.8.9.1:8000/v1/", "http://127.8.9.1:8000/v1"),
        ("http://[::1]:8000/api", "http://[::1]:8000/api"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
    ],
)
def test_loopback_addresses_are_used(url: str, used: str) -> None:
    assert check_address(url) == (used, False)


@pytest.mark.parametrize(
    "url", ["http://192.168.0.7:8000/v1", "https://8.8.8.8", "http://[::ffff:10.0.0.1]/v1", "http://0.0.0.0:8000/v1"]
)
def test_other_machines_are_refused_unless_allowed(url: str) -> None:
    with pytest.raises(RemoteRefused, match="allow_remote"):
        check_address(url)
    assert check_address(url, allow_remote=True)[1] is True


def test_a_name_counts_by_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"inside": ["127.0.0.1", "::1"], "mixed": ["127.0.0.1", "10.1.2.3"]}

    def resolve(host: str, *_: object, **__: object) -> list[Any]:
        if host not in found:
            raise OSError("no such name")
        return [(0, 0, 0, "", (address, 0)) for address in found[host]]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    assert check_address("http://inside:1/v1")[1] is False
    with pytest.raises(RemoteRefused, match="mixed"):
        check_address("http://mixed:1/v1")
    with pytest.raises(RemoteRefused, match="nowhere"):
        check_address("http://nowhere:1/v1")
    assert check_address("http://nowhere:1/v1", allow_remote=True)[1] is True


def test_passwords_do_not_belong_in_an_address() -> None:
    with pytest.raises(InputError, match="WHYRANK_API_KEY"):
        check_address("http://me:secret@127.0.0.1/v1")


def test_the_study_s_client_sends_the_key_from_the_environment(
    serve: Serve, completed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-openai")
    monkeypatch.setenv("WHYRANK_API_KEY", "from-whyrank")
    server = serve(lambda n, body: completed('{"word":"yes"}'))
    prompt = RenderedPrompt("test", "Well?", "t:r")
    question: Question[BaseModel] = Question(prompt, WORD, "test")
    with open_client(LlmConfig(base_url=server.url, max_concurrency=2)) as client:
        assert client.ask(question).answer is not None
        assert client.backend.slots == 2
        assert "from-whyrank" not in repr(client.backend.__dict__["endpoint"])
    assert server.headers[0]["authorization"] == "Bearer from-whyrank"


def test_concurrency_is_bounded_and_odd_replies_are_survived(serve: Serve, completed: Callable[..., Any]) -> None:
    odd = ["", '{"word":', '{"word":"perhaps"}', "no"]
    server = serve(lambda n, body: completed('{"word":"yes"}' if len(body["messages"]) > 1 else odd[n % 4]))
    questions: list[Question[BaseModel]] = [
        Question(RenderedPrompt("test", f"Well, {i}?", "t:r"), WORD, "test") for i in range(12)
    ]
    with closing(OpenAIBackend(Endpoint(server.url, slots=3))) as backend:
        replies = Client(backend).ask_all(questions)
    assert all(reply.answer is not None for reply in replies)
    assert len(server.requests) == 24


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_key_is_in_no_log_error_or_reply_at_any_level(
    serve: Serve, say: Callable[..., Any], completed: Callable[..., Any], caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """The server repeats it wherever it can; every logger is switched to debug after the connection is made."""
    key = "sk-very-secret-0123456789"
    body = completed(f"you sent {key}") if status == 200 else {"error": {"message": f"wrong: {key}"}}
    server = serve(lambda n, _: say(status, body, {"X-Key": key}))
    caplog.set_level(logging.DEBUG)
    told = ""
    with closing(OpenAIBackend(Endpoint(server.url, api_key=key), retries=0)) as backend:
        before = {name: logging.getLogger(name).level for name in ("openai", "httpx", "httpcore", "asyncio")}
        for name in before:
            logging.getLogger(name).setLevel(logging.DEBUG)
        try:
            told = repr(backend.send(HELLO, PARAMS))
        except (CallFailed, ServerError) as error:
            told = "".join(traceback.format_exception(error)) + repr(error)
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
    assert server.headers[0]["authorization"] == f"Bearer {key}"
    assert "***" in told
    assert key not in told
    assert caplog.records
    lines = [line for line in caplog.text.splitlines() if key in line]
    assert lines == []


def test_a_packed_reply_is_not_unfolded(serve: Serve, say: Callable[..., Any]) -> None:
    server = serve(lambda n, body: say(200, "x" * 100, {"Content-Encoding": "gzip"}))
    with pytest.raises(CallFailed, match="packed with 'gzip'") as failed:
        ask(server.url)
    assert failed.value.kind == "too_large"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("soon", None),
        ("nan", None),
        ("", None),
        ("1e9", 1e9),
        ("Mon, 99 Foo", None),
    ],
)
def test_what_a_server_says_of_waiting_is_understood(
    serve: Serve, say: Callable[..., Any], said: str, seconds: float | None
) -> None:
    server = serve(lambda n, body: say(429, {}, {"Retry-After": said}))
    with pytest.raises(CallFailed) as failed:
        ask(server.url)
    assert failed.value.retry_after == seconds


def test_a_date_to_wait_for_is_understood(serve: Serve, say: Callable[..., Any]) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    server = serve(lambda n, body: say(429, {}, {"Retry-After": until}))
    with pytest.raises(CallFailed) as failed:
        ask(server.url)
    assert failed.value.retry_after == pytest.approx(39, abs=20)
