"""How fast a server is asked, how it is waited for, and when it is given up: against servers made of a few lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from whyrank.agents.backend import OpenAIBackend
from whyrank.agents.client import Client, Question
from whyrank.agents.endpoint import Endpoint
from whyrank.agents.flow import CallFailed, Flow, Patience
from whyrank.agents.schemas import answer_model
from whyrank.errors import ServerError
from whyrank.prompts import RenderedPrompt

QUICK = Patience(first_pause=0.01, longest_pause=0.05, outage=1.0)


@dataclass
class Server:
    """Calls `answer` with the number of the request and how many are under way; None is a reply."""

    answer: Callable[[int, int], CallFailed | None]
    seconds: float = 0.002
    at_once: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    now: int = 0

    async def request(self) -> str:
        self.now += 1
        self.at_once.append(self.now)
        self.times.append(time.monotonic())
        failed = self.answer(len(self.at_once) - 1, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        if failed is not None:
            raise failed
        return "good"


def ask(
    server: Server, count: int, *, most: int = 16, patience: Patience = QUICK
) -> tuple[list[Any], Flow, list[tuple[str, ...]]]:
    """Ask so many things at once; returns replies and errors, the flow, and what was overcome."""

    async def all_of_them() -> tuple[list[Any], Flow]:
        flow = Flow(most, patience)
        asked: list[Awaitable[Any]] = [flow.patiently(server.request) for _ in range(count)]
        return list(await asyncio.gather(*asked, return_exceptions=True)), flow

    found, flow = asyncio.run(all_of_them())
    said = [one if isinstance(one, BaseException) else one[0] for one in found]
    return said, flow, [one[1] for one in found if not isinstance(one, BaseException)]


def test_no_more_are_under_way_than_the_server_has_slots() -> None:
    server = Server(lambda n, now: None)
    said, flow, _ = ask(server, 100, most=7)
    assert said == ["good"] * 100
    assert max(server.at_once) == 7
    assert flow.limit == 7


def test_an_overloaded_server_is_asked_less_at_a_time_until_it_copes() -> None:
    server = Server(lambda n, now: CallFailed("overloaded", "slow down") if now > 4 else None)
    said, flow, overcome = ask(server, 400, most=64)
    assert said == ["good"] * 400
    assert sum(map(len, overcome)) < 400, "most requests were sent once"
    late = server.at_once[-200:]
    assert max(late) <= 7
    assert max(late) >= 4, "it is tried how much more the server bears"
    assert flow.limit < 10


def test_it_recovers_when_the_server_does() -> None:
    server = Server(lambda n, now: CallFailed("overloaded", "slow down") if n < 40 and now > 2 else None)
    _, flow, _ = ask(server, 600, most=12)
    assert flow.limit == 12


def test_everybody_waits_as_long_as_the_server_asks_for() -> None:
    server = Server(lambda n, now: CallFailed("overloaded", "wait", retry_after=0.3) if n == 0 else None, seconds=0.001)
    said, _, overcome = ask(server, 20, most=1)
    assert said == ["good"] * 20
    assert server.times[1] - server.times[0] >= 0.3
    assert server.times[-1] - server.times[1] < 0.25
    assert sorted(overcome)[-1] == ("overloaded",)


def test_waiting_for_a_busy_server_is_no_try() -> None:
    server = Server(lambda n, now: CallFailed("overloaded", "busy") if n < 9 else None)
    said, _, _ = ask(server, 1, patience=Patience(retries=1, first_pause=0.01, longest_pause=0.02, outage=5))
    assert said == ["good"]


def test_a_wait_without_end_is_not_waited() -> None:
    server = Server(lambda n, now: CallFailed("overloaded", "quota", retry_after=3600))
    said, _, _ = ask(server, 5)
    assert all(isinstance(one, ServerError) for one in said)
    assert "asks to be left alone for 3600 s (quota)" in str(said[0])


def test_a_server_that_comes_back_is_waited_for_and_not_hammered() -> None:
    gone: list[float] = []

    def away(n: int, now: int) -> CallFailed | None:
        if n < 100:
            return None
        gone.append(time.monotonic())
        return CallFailed("unreachable", "gone") if gone[-1] - gone[0] < 0.4 else None

    server = Server(away)
    said, flow, overcome = ask(server, 600, most=16, patience=Patience(first_pause=0.01, longest_pause=0.05, outage=5))
    assert said == ["good"] * 600
    assert 1 <= sum(map(len, overcome)) < 60
    assert flow.limit >= 8


def test_a_server_that_stays_away_is_given_up_within_bounds() -> None:
    server = Server(lambda n, now: CallFailed("server_error", "boom") if n >= 20 else None)
    began = time.monotonic()
    said, _, _ = ask(server, 200, patience=Patience(retries=50, first_pause=0.01, longest_pause=0.1, outage=0.5))
    assert time.monotonic() - began < 5
    assert said.count("good") == 20
    assert any(isinstance(one, ServerError) and "gave no reply for" in str(one) for one in said)
    assert len(server.at_once) < 100


def test_one_question_that_always_fails_takes_nobody_along() -> None:
    failing = {3}

    async def all_of_them() -> list[Any]:
        flow = Flow(4, QUICK)

        async def one(number: int) -> int:
            await asyncio.sleep(0.001)
            if number in failing:
                raise CallFailed("broken", "half a reply")
            return number

        asked = [flow.patiently(lambda number=number: one(number)) for number in range(30)]  # type: ignore[misc]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    found = asyncio.run(all_of_them())
    assert isinstance(found[3], CallFailed)
    assert [one[0] for i, one in enumerate(found) if i != 3] == [i for i in range(30) if i != 3]


@pytest.mark.parametrize(("kind", "requests"), [("timeout", 2), ("server_error", 4), ("rejected", 1), ("broken", 4)])
def test_a_question_has_so_many_tries(kind: Any, requests: int) -> None:
    server = Server(lambda n, now: CallFailed(kind, "no"))
    (said,), _, _ = ask(server, 1, patience=Patience(first_pause=0.01, outage=60))
    assert isinstance(said, CallFailed)
    assert len(server.at_once) == requests


def test_requests_that_are_taken_back_leave_their_place() -> None:
    async def scenario() -> str:
        flow = Flow(1, QUICK)
        server = Server(lambda n, now: None, seconds=0.05)
        tasks = [asyncio.create_task(flow.patiently(server.request)) for _ in range(5)]
        await asyncio.sleep(0.01)
        for task in tasks[:4]:
            task.cancel()
        return (await asyncio.wait_for(tasks[4], 2))[0]

    assert asyncio.run(scenario()) == "good"


def question(text: str) -> Question[BaseModel]:
    return Question(RenderedPrompt("test", text, "t:r"), answer_model({"word": ("yes", "no")}), "test")


def test_it_works_where_an_event_loop_is_running(
    serve: Callable[..., Any], completed: Callable[..., Any], say: Callable[..., Any]
) -> None:
    """As in a notebook; a busy server first."""
    server = serve(lambda n, body: say(429, {}, {"Retry-After": "0.05"}) if n == 0 else completed('{"word":"yes"}'))

    async def cell() -> list[Any]:
        with closing(OpenAIBackend(Endpoint(server.url, slots=4))) as backend:
            return Client(backend).ask_all([question(f"{i}?") for i in range(10)])

    answers = asyncio.run(cell())
    assert all(answer.answer is not None for answer in answers)
    assert sorted(kind for answer in answers for kind in answer.retried) == ["overloaded"]
    assert len(server.requests) == 11
