"""How fast a server is asked: as much at a time as it bears, pauses where it needs them, and an end to patience."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

from whyrank.errors import ServerError, WhyRankError

__all__ = ["CallFailed", "Flow", "Patience", "TransportFailure"]

T = TypeVar("T")

TransportFailure = Literal[
    "timeout", "unreachable", "overloaded", "server_error", "broken", "not_a_completion", "too_large", "rejected"
]
"""How a request can end without a reply."""

_DOWN = 5
"""Failures in a row, over all requests, after which the server is asked one thing at a time."""

_FEW = 3
"""A server isn't given up for fewer failures than this."""

_TIMEOUTS = 2
"""Requests sent for one question that run into the time limit."""


class CallFailed(WhyRankError):
    """One request got no reply; `retry_after` is what the server asked for, in seconds."""

    def __init__(self, kind: TransportFailure, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after


@dataclass(frozen=True)
class Patience:
    """What is put up with.

    Attributes
    ----------
    retries : further tries of a request that got no reply; 0 never tries again. Waiting because the server is busy,
        or gone for a while, is no try.
    first_pause, longest_pause : seconds; pauses double from one to the other where the server doesn't say how long.
    outage : seconds without any reply after which the server is given up; also the longest pause it may ask for.
    """

    retries: int = 3
    first_pause: float = 0.5
    longest_pause: float = 20.0
    outage: float = 120.0


class Flow:
    """Lets requests through to one server, for one event loop.

    At most `most` are in flight. Where the server says that it is overloaded, or doesn't answer in time, half as many
    are, after a pause; each reply lets in a little more again (additive increase, multiplicative decrease). After
    several failures in a row one request at a time finds out whether the server is back.
    """

    def __init__(self, most: int, patience: Patience) -> None:
        self._most = float(max(1, most))
        self._patience = patience
        self._limit = self._most
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._cut_at = 0.0
        self._pauses = 0
        self._streak = 0
        self._streak_since = 0.0
        self._before_outage = 0.0
        self._reached = False
        self._given_up = ""
        self._given_up_at = 0.0

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return int(self._limit)

    @property
    def paused(self) -> float:
        """Seconds until the next request may be sent."""
        return max(0.0, self._paused_until - time.monotonic())

    async def patiently(self, request: Callable[[], Awaitable[T]]) -> tuple[T, tuple[str, ...]]:
        """Send a request until there is a reply; returns it, and the kinds of the failures before it.

        Raises
        ------
        CallFailed
            If its tries are used up, or it can't succeed.
        ServerError
            If the server is given up.
        """
        overcome: list[str] = []
        if self._given_up and time.monotonic() - self._given_up_at > self._patience.longest_pause:
            self._given_up, self._streak, self._pauses = "", 0, 0
        while True:
            async with self._turn():
                started = time.monotonic()
                try:
                    reply = await request()
                except CallFailed as error:
                    failed = error
                else:
                    self._succeeded()
                    return reply, tuple(overcome)
                self._failed(failed, started)
            overcome.append(failed.kind)
            if not self._once_more(overcome):
                raise failed
            if failed.kind != "overloaded":
                await asyncio.sleep(self._pause(overcome.count(failed.kind) - 1))

    def _once_more(self, failures: list[str]) -> bool:
        kind, retries = failures[-1], self._patience.retries
        if kind == "rejected" or retries == 0:
            return False
        if kind == "timeout" and failures.count("timeout") >= _TIMEOUTS:
            return False
        if kind == "overloaded" or (kind == "unreachable" and self._reached):
            return True  # until the server is given up
        return len(failures) - failures.count("overloaded") <= retries

    def _succeeded(self) -> None:
        self._reached = True
        self._streak = self._pauses = 0
        if self._before_outage:
            self._limit, self._before_outage = max(1.0, self._before_outage / 2), 0.0
        else:
            self._limit = min(self._most, self._limit + 1 / self._limit)
        self._let_in()

    def _failed(self, failed: CallFailed, started: float) -> None:
        if failed.kind == "rejected":  # it answers
            self._succeeded()
            return
        now, busy = time.monotonic(), failed.kind in ("overloaded", "timeout")
        self._reached = self._reached or failed.kind not in ("unreachable", "timeout")
        self._streak_since = started if self._streak == 0 else min(started, self._streak_since)
        self._streak += 1
        if self._patience.retries == 0:
            return
        if failed.retry_after is not None and failed.retry_after > self._patience.outage:
            self._give_up(f"asks to be left alone for {failed.retry_after:.0f} s ({failed})")
        elif self._streak >= _FEW and now - self._streak_since > self._patience.outage:
            self._give_up(f"gave no reply for {now - self._streak_since:.0f} s ({failed})")
        if failed.retry_after is not None:
            self._pause_until(now + failed.retry_after)
        if started < self._cut_at:  # sent before the server was given a rest: tells nothing new
            return
        down = self._streak >= _DOWN or (failed.kind == "unreachable" and self._reached)
        if down:
            self._before_outage = self._before_outage or self._limit
            self._limit = 1.0
        elif busy:
            self._limit = max(1.0, self._limit / 2)
        if down or busy:
            self._cut_at = now
            if failed.retry_after is None:
                self._pause_until(now + self._pause(self._pauses))
                self._pauses += 1

    def _give_up(self, why: str) -> None:
        self._given_up, self._given_up_at = why, time.monotonic()
        self._let_in()

    def _pause(self, times_before: int) -> float:
        return float(min(self._patience.longest_pause, self._patience.first_pause * 2 ** min(times_before, 20)))

    def _pause_until(self, moment: float) -> None:
        if moment > self._paused_until:
            self._paused_until = moment
            loop = asyncio.get_running_loop()
            loop.call_later(moment - time.monotonic() + 1e-3, self._let_in)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for room; those who came first go first."""
        if self._waiting or not self._room():
            ticket = asyncio.get_running_loop().create_future()
            self._waiting.append(ticket)
            self._let_in()
            try:
                await ticket
            except asyncio.CancelledError:
                if ticket.done() and not ticket.cancelled():
                    self._leave()
                raise
        else:
            self._in_flight += 1
        try:
            if self._given_up:
                raise ServerError(f"the model server {self._given_up}")
            yield
        finally:
            self._leave()

    def _room(self) -> bool:
        if self._given_up:
            return True
        return self._in_flight < self.limit and time.monotonic() >= self._paused_until

    def _let_in(self) -> None:
        while self._waiting and self._room():
            ticket = self._waiting.popleft()
            if not ticket.done():
                self._in_flight += 1
                ticket.set_result(None)

    def _leave(self) -> None:
        self._in_flight -= 1
        self._let_in()
