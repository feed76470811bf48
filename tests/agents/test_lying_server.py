"""A real HTTP server that lies in every way seen in the wild: each is survived, counted, and told."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import whyrank
from whyrank.agents import connect
from whyrank.agents.backend import OpenAIBackend
from whyrank.agents.calls import MemoryStore
from whyrank.agents.client import Client, Question
from whyrank.agents.endpoint import Endpoint
from whyrank.agents.schemas import answer_model, answered
from whyrank.agents.scripted import agree
from whyrank.cli import main
from whyrank.datasets.world import small_world, write_world
from whyrank.errors import ServerError
from whyrank.prompts import load_prompt

LIES = (
    "prose", "cut", "reasoning", "empty", "white space", "invented", "itself", "busy", "busy, wait", "broken",
    "half a reply", "wrong length", "page", "huge",
)  # fmt: skip

Body = Mapping[str, Any]


def truth(body: Body) -> dict[str, Any]:
    return dict(agree(body["response_format"]["json_schema"]["schema"]))


def itself(body: Body) -> dict[str, Any]:
    """The attribute that was asked about, as its own cause."""
    asked = re.search(r"looking for what causes this one: (\S+)", body["messages"][0]["content"])
    return truth(body) | ({"strongest": asked.group(1)} if asked else {"answer": "items.nothing"})


@dataclass
class Lying:
    """Answers the n-th try of a prompt, which came as so many-th, as `plan` says; counts what it did."""

    plan: Callable[[int, int], str]
    told: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    prompts: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)

    def next(self, body: Body) -> str:
        exact, prompt = json.dumps(body, sort_keys=True), body["messages"][0]["content"]
        with self.lock:
            tries = max(self.sent[exact], (len(body["messages"]) - 1) // 2)  # sent again, or told what was wrong
            self.sent[exact] += 1
            lie = self.plan(self.prompts.setdefault(prompt, len(self.prompts)), tries)
            self.told[lie] += 1
            self.requests += 1
            return lie


def handler(lying: Lying) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.reply(json.dumps({"object": "list", "data": [{"id": "liar", "object": "model"}]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.path.endswith("/chat/completions") or "response_format" not in body:
                self.reply("{}", status=404)
                return
            self.lie(lying.next(body), body)

        def lie(self, lie: str, body: Body) -> None:
            good = json.dumps(truth(body))
            match lie:
                case "prose":
                    self.say("Certainly! I think that it is likely.")
                case "cut":
                    self.say(good[: len(good) // 2], finish="length")
                case "reasoning":
                    self.say("", reasoning_content=good)
                case "empty":
                    self.say("")
                case "white space":
                    self.say("{" + " \n" * 400, finish="length")
                case "invented":
                    self.say(json.dumps(dict.fromkeys(truth(body), "items.never_heard_of")))
                case "itself":
                    self.say(json.dumps(itself(body)))
                case "busy":
                    self.reply('{"error": {"message": "slow down"}}', status=429)
                case "busy, wait":
                    self.reply('{"error": {"message": "slow down"}}', status=429, headers={"Retry-After": "0.2"})
                case "broken":
                    self.reply("out of memory", status=500)
                case "half a reply":
                    self.raw(completion(good), length=10_000)
                case "wrong length":
                    self.raw(completion(good), length=20)
                case "page":
                    self.reply("<html><body>502 Bad Gateway</body></html>", kind="text/html")
                case "huge":
                    self.say("x" * 5_000_000)
                case "hang":
                    lying.stop.wait(20)
                    self.close_connection = True
                case _:
                    self.say(good)

        def say(self, content: str, *, finish: str = "stop", **message: Any) -> None:
            self.reply(completion(content, finish, **message))

        def reply(self, text: str, *, status: int = 200, kind: str = "application/json", headers: Any = None) -> None:
            payload = text.encode()
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(payload)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.write(payload)

        def raw(self, text: str, *, length: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.write(text.encode()[:length] if length < len(text) else text.encode())
            self.close_connection = True

        def write(self, payload: bytes) -> None:
            try:
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):  # it has hung up, which is its right
                self.close_connection = True

    return Handler


def completion(content: str, finish: str = "stop", **message: Any) -> str:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "liar", "choices": [choice]})


@contextmanager
def lying_server(plan: Callable[[int, int], str]) -> Iterator[tuple[str, Lying]]:
    lying = Lying(plan)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is no error of the server."""

    with Quiet(("127.0.0.1", 0), handler(lying)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}/v1", lying
        finally:
            lying.stop.set()
            http.shutdown()
            thread.join()


def ask(url: str, count: int = 3, *, timeout: float = 20.0, outage: float = 10.0) -> tuple[list[Any], MemoryStore]:
    schema = answer_model({"answer": ["likely", "unlikely"]})
    prompt = load_prompt("probe", "en").render()
    questions = [Question(prompt, schema, "test", sample=i) for i in range(count)]
    store = MemoryStore()
    with closing(OpenAIBackend(Endpoint(url, slots=4), timeout=timeout, outage=outage)) as backend:
        return Client(backend, store=store).ask_all(questions), store


KINDS = {
    "prose": "not_json", "cut": "cut", "empty": "empty", "white space": "white_space", "invented": "unknown_name",
    "itself": "unknown_name",
}  # fmt: skip
AGAIN = {
    "busy": "overloaded", "busy, wait": "overloaded", "broken": "server_error", "half a reply": "broken",
    "page": "not_a_completion", "hang": "timeout", "wrong length": "not_a_completion",
    "huge": "too_large",
}  # fmt: skip


@pytest.mark.parametrize("lie", [*LIES, "hang"])
def test_one_lie_a_question_is_survived_and_counted(lie: str) -> None:
    with lying_server(lambda _, number: lie if number == 0 else "truth") as (url, _):
        answers, _ = ask(url, timeout=1.0 if lie == "hang" else 20.0)
    assert [answered(a.answer)["answer"] for a in answers if a.answer is not None] == ["likely"] * 3
    if lie in KINDS:
        assert {failure.partition(":")[0] for a in answers for failure in a.failures} == {KINDS[lie]}
    elif lie in AGAIN:
        assert {kind for a in answers for kind in a.retried} == {AGAIN[lie]}
    else:
        assert lie == "reasoning"
        assert all(len(a.keys) == 1 for a in answers)


@pytest.mark.parametrize("lie", ["prose", "cut", "empty", "white space", "invented"])
def test_a_server_that_never_tells_the_truth_is_asked_three_times_a_question(lie: str) -> None:
    with lying_server(lambda _, number: lie) as (url, lying):
        answers, _ = ask(url)
    assert all(a.answer is None for a in answers)
    assert lying.requests == 9


@pytest.mark.parametrize("lie", ["broken", "half a reply", "page"])
def test_a_server_that_only_breaks_is_given_up_within_bounds(lie: str) -> None:
    with lying_server(lambda _, number: lie) as (url, lying), pytest.raises(ServerError):
        ask(url, count=8, outage=2.0)
    assert lying.requests < 60


@pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")
def test_a_whole_run_ends_with_what_was_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third question is met with a lie first, each lie in turn; one in ten with nothing but lies."""
    told = [lie for lie in LIES if lie != "huge"]

    def plan(index: int, number: int) -> str:
        if index % 10 == 9:
            return ("prose", "cut", "empty")[number % 3]
        return told[(index // 3) % len(told)] if index % 3 == 0 and number == 0 else "truth"

    monkeypatch.setattr(connect, "OpenAIBackend", partial(OpenAIBackend, timeout=10.0))
    file = write_world(small_world(7), tmp_path)
    with lying_server(plan) as (url, lying):
        text = (
            file.read_text(encoding="utf-8")
            + f'\n[llm]\nbase_url = "{url}"\nmax_concurrency = 8\n[validation]\naudit = false\n'
        )
        file.write_text(text, encoding="utf-8")
        result = CliRunner().invoke(main, ["run", str(tmp_path), "--source", "llm", "--rounds", "1"])
    assert result.exit_code == 0, result.stderr
    assert "Traceback" not in result.stderr
    unusable = re.search(r"unusable: (.*)", result.stdout)
    assert unusable is not None
    kinds = {part.split()[1] for part in unusable.group(1).split(", ")}
    assert kinds >= {"not_json", "cut", "white_space"}
    assert sum(lying.told[lie] for lie in told) > 12
    with whyrank.open(tmp_path) as study:
        known = set(study.data.attributes) | set(study.data.outcomes)
        hypotheses = study.ledger.hypotheses()
        assert len(hypotheses) > 10
        for h in hypotheses:
            assert {h.edge.cause, h.edge.effect} <= known
            assert h.edge.cause != h.edge.effect
        assert len(study.verdicts()) >= len({h.edge for h in hypotheses})


def test_a_circle_of_claims_is_broken_and_said(tmp_path: Path) -> None:
    """A model that names each attribute as the other's cause, in either order."""
    from whyrank.agents.cycles import break_cycles
    from whyrank.edge import Edge, Hypothesis

    claims = [
        Hypothesis(Edge("items.a", "items.b"), source="llm", confidence=1.0),
        Hypothesis(Edge("items.b", "items.a"), source="llm", confidence=0.75),
    ]
    left, broken = break_cycles(claims)
    assert left == claims[:1]
    assert "round in a circle" in broken[0].sentence()
