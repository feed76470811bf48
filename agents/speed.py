"""How fast a model server answers: one request at a time, and many."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from whyrank.agents.backend import CallFailed, OpenAIBackend, Reply
from whyrank.agents.schemas import answer_model, json_schema
from whyrank.errors import ServerError
from whyrank.prompts import Language, load_prompt

__all__ = ["Speed", "measure_speed"]

_TOKENS = 48
_ALONE = 3
_MOST_IN_FLIGHT = 64
_ROUNDS = 2
_LONGEST_SECONDS = 60.0
_OTHER_SEED = 1_000
_ANSWERS = {"direction": ("forward", "backward", "neither"), "sign": ("+", "-", "unclear")}
"""What is asked for: as long as a critic's answer."""


@dataclass(frozen=True)
class Speed:
    """How fast a server answered.

    Attributes
    ----------
    tokens_per_second : generated in one request; None if the server doesn't count tokens.
    alone : short requests answered a second, one after the other.
    together : short requests answered a second with `in_flight` of them at the same time.
    """

    tokens_per_second: float | None
    alone: float
    together: float
    in_flight: int


def measure_speed(backend: OpenAIBackend, *, schema: bool, language: Language = "en") -> Speed | None:
    """Return how fast a server is, or None if it stopped answering.

    Requests differ in their seed only, as those of a batch share their beginning. At most 64 are in flight, and for
    servers off this machine 8, since those may cost money.

    Parameters
    ----------
    backend
        The server.
    schema
        Whether to ask for answers under a schema, as most requests are; not every server takes one.
    language
        Of the prompt.
    """
    messages = load_prompt("probe", language).render().messages
    bound = json_schema(answer_model(_ANSWERS)) if schema else None

    def asking(seed: int, **params: Any) -> Future[Reply]:
        settings = {"temperature": 0.7, "max_tokens": _TOKENS, "seed": seed, "schema": bound} | params
        return backend.submit(messages, settings)

    try:
        asking(0).result()  # the grammar is compiled, the shared beginning is in the cache
        free = asking(1, schema=None).result()
        alone = _rate(asking, count=_ALONE, in_flight=1, first=2)
        in_flight = min(backend.slots, 8 if backend.endpoint.remote else _MOST_IN_FLIGHT)
        count = _ROUNDS * in_flight if in_flight > 1 else 0
        together = _rate(asking, count=count, in_flight=in_flight, first=_OTHER_SEED) if count else alone
    except (CallFailed, ServerError):
        return None
    return Speed(
        tokens_per_second=free.tokens_out / free.seconds if free.tokens_out and free.seconds else None,
        alone=alone,
        together=together,
        in_flight=in_flight,
    )


def _rate(asking: Callable[[int], Future[Reply]], *, count: int, in_flight: int, first: int) -> float:
    """Requests answered a second, with so many at the same time; stops asking when it takes too long."""
    started = time.monotonic()
    running: set[Future[Reply]] = set()
    asked, answered = 0, 0
    while answered < count:
        late = time.monotonic() - started > _LONGEST_SECONDS
        while len(running) < in_flight and asked < count and not (late and answered):
            running.add(asking(first + asked))
            asked += 1
        if not running:
            break
        done, running = wait(running, return_when="FIRST_COMPLETED")
        for future in done:
            future.result()
        answered += len(done)
    return answered / (time.monotonic() - started)
