"""The one client: every question to a model goes through here, with its schema, its tries, its cache and its record."""

from __future__ import annotations

import hashlib
import json
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from whyrank.agents.backend import AsyncBackend, Backend, CallFailed, Message, Reply
from whyrank.agents.calls import CallRecord, CallStore, MemoryStore, call_key
from whyrank.agents.progress import Asking, DetailedProgress, Progress
from whyrank.agents.questions import Answered, Question, Turn, Usage, by_shared_beginning, first_turn
from whyrank.agents.replies import read_reply
from whyrank.agents.schemas import json_schema
from whyrank.errors import ServerError
from whyrank.prompts import Language, load_prompt

__all__ = ["Answered", "Client", "Progress", "Question", "Usage"]

A = TypeVar("A", bound=BaseModel)

_TRIES = 3
_SHOWN_OF_BAD_REPLY = 120
_MORE_ROOM = 1.5
_FAILURES_IN_A_ROW = 20
_SHOW_EVERY = 0.1
_LOOK_EVERY = 1.0

_NO_REPLY = frozenset(
    {"timeout", "unreachable", "overloaded", "server_error", "broken", "not_a_completion", "too_large"}
)
"""Kinds of failure that say nothing about the question; it is asked again next time."""

_Arrived = queue.SimpleQueue[tuple[Turn, str, "Future[Reply]"]]
_Submit = Callable[[Sequence[Message], Mapping[str, Any]], "Future[Reply]"]


class Client:
    """Asks many questions at once, each at most three times, and keeps every call.

    Parameters
    ----------
    backend
        A server (`OpenAIBackend`) or a script (`ScriptedModel`).
    store
        Where calls are kept and looked up; what is there is not asked again. In memory if not given.
    seed
        Sent to the server with each request, mixed with the sample number.
    language
        Of the sentences that tell a model what was wrong.
    """

    def __init__(
        self, backend: Backend, *, store: CallStore | None = None, seed: int = 0, language: Language = "en"
    ) -> None:
        self.backend = backend
        self.store: CallStore = MemoryStore() if store is None else store
        self._seed = seed
        self._retry = load_prompt("retry", language)

    def ask(self, question: Question[A]) -> Answered[A]:
        """Ask one question; see `ask_all`."""
        return self.ask_all([question])[0]

    def ask_all(
        self, questions: Sequence[Question[A]], *, what: str = "asking", progress: Progress | None = None
    ) -> list[Answered[A]]:
        """Ask questions with as many in flight as the backend has slots; answers come in the order of the questions.

        Those whose prompts begin alike are asked one after the other. A question that gets no usable answer in three
        tries, or no reply, is answered with None; its failures say why. The store and `progress` are only used from
        the thread that calls.

        Raises
        ------
        ServerError
            If the server is gone, or no longer answers anything. What it answered before is kept.
        """
        answers: list[Answered[A] | None] = [None] * len(questions)
        turns = deque(first_turn(index, questions[index]) for index in by_shared_beginning(questions))
        arrived: _Arrived = queue.SimpleQueue()
        running: dict[str, Future[Reply]] = {}
        parked: dict[str, list[Turn]] = {}
        told = _Told(what, len(questions), progress, self.backend)
        in_a_row = 0

        def settle(turn: Turn, record: CallRecord, *, cached: bool, retried: tuple[str, ...] = ()) -> None:
            outcome = self._judge(turn, record, cached=cached, retried=retried)
            told.of_call(record, cached, retried)
            if isinstance(outcome, Turn):
                turns.appendleft(outcome)
                return
            answers[turn.index] = outcome
            told.of_answer(outcome, len(running))

        with _submitting(self.backend) as submit:
            try:
                while turns or running:
                    while turns and len(running) < self.backend.slots:
                        turn = turns.popleft()
                        key = self._key(turn)
                        if key in running:
                            parked.setdefault(key, []).append(turn)
                        elif (record := self.store.get(key)) is not None:
                            settle(turn, record, cached=True)
                        else:
                            future = submit(turn.messages, self._params(turn))
                            running[key] = future
                            future.add_done_callback(partial(_hand_over, arrived, turn, key))
                    if not running:
                        continue
                    try:
                        turn, key, future = arrived.get(timeout=_LOOK_EVERY)
                    except queue.Empty:
                        told.again(len(running))
                        continue
                    del running[key]
                    record = self._record(turn, key, future)
                    self.store.put(record)
                    in_a_row = in_a_row + 1 if record.failure in {*_NO_REPLY, "rejected"} else 0
                    if record.failure == "unreachable" or in_a_row >= _FAILURES_IN_A_ROW:
                        raise ServerError(f"the model server stopped answering ({record.error})")
                    settle(turn, record, cached=False, retried=_retried(future))
                    turns.extendleft(parked.pop(key, []))
            except ServerError:
                self._keep_arrived(arrived)
                raise
            finally:
                for future in running.values():
                    future.cancel()
        return [answer for answer in answers if answer is not None]

    def _keep_arrived(self, arrived: _Arrived) -> None:
        """Keep the replies that came in before a server went away."""
        while not arrived.empty():
            turn, key, future = arrived.get()
            if not future.cancelled() and future.exception() is None:
                self.store.put(self._record(turn, key, future))

    def _params(self, turn: Turn) -> dict[str, Any]:
        question = turn.question
        mixed = f"{self._seed}/{question.sample}/{turn.attempt}".encode()
        return {
            "temperature": question.temperature,
            "max_tokens": turn.max_tokens,
            "seed": int.from_bytes(hashlib.sha256(mixed).digest()[:4]) >> 1,
            "schema": json_schema(question.schema),
        }

    def _key(self, turn: Turn) -> str:
        return call_key(
            model=self.backend.model,
            messages=turn.messages,
            params=self._params(turn),
            sample=turn.question.sample,
            attempt=turn.attempt,
        )

    def _record(self, turn: Turn, key: str, future: Future[Reply]) -> CallRecord:
        """The record of a finished call; one without a reply has a key that no later call will find."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        params = self._params(turn) | {"sample": turn.question.sample, "attempt": turn.attempt}
        record = CallRecord(
            key=key,
            purpose=turn.question.purpose if turn.attempt == 1 else f"retry:{turn.question.purpose}",
            model=self.backend.model,
            prompt="\n\n".join(f"[{message['role']}]\n{message['content']}" for message in turn.messages),
            prompt_hash=turn.question.prompt.hash,
            params=json.dumps(params, ensure_ascii=False, sort_keys=True),
            raw_reply="",
            parsed=None,
            error="",
            tokens_in=0,
            tokens_out=0,
            seconds=0.0,
            created_at=now,
        )
        try:
            reply = future.result()
        except CallFailed as failed:
            own_key = hashlib.sha256(f"{key}/{now}".encode()).hexdigest()
            return replace(record, key=own_key, error=f"{failed.kind}: {failed}")
        read = read_reply(reply, turn.question.schema)
        return replace(
            record,
            raw_reply=reply.raw,
            parsed=None if read.answer is None else read.answer.model_dump_json(by_alias=True),
            error="" if read.problem is None else str(read.problem),
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            seconds=reply.seconds,
        )

    def _judge(
        self, turn: Turn, record: CallRecord, *, cached: bool, retried: tuple[str, ...] = ()
    ) -> Answered[Any] | Turn:
        """The answer that a call gave, or the next try."""
        before = turn.so_far
        so_far = replace(
            before,
            keys=(*before.keys, record.key),
            cached=before.cached + cached,
            failures=(*before.failures, record.error) if record.error else before.failures,
            retried=(*before.retried, *retried),
            tokens_in=before.tokens_in + (0 if cached else record.tokens_in),
            tokens_out=before.tokens_out + (0 if cached else record.tokens_out),
        )
        if record.parsed is not None:
            return replace(so_far, answer=turn.question.schema.model_validate_json(record.parsed))
        if turn.attempt >= _TRIES or record.failure in _NO_REPLY or record.failure == "rejected":
            return so_far
        kind, _, detail = record.error.partition(": ")
        complaint = self._retry.render(problem=detail)
        return replace(
            turn,
            messages=(
                *turn.question.prompt.messages,
                {"role": "assistant", "content": _shown(record.raw_reply)},
                *complaint.messages,
            ),
            max_tokens=int(turn.max_tokens * _MORE_ROOM) if kind == "cut" else turn.max_tokens,
            attempt=turn.attempt + 1,
            so_far=so_far,
        )


class _Told:
    """Counts what happens, and tells it on."""

    def __init__(self, what: str, total: int, progress: Progress | None, backend: Backend) -> None:
        self._asking = Asking(what, 0, total)
        self._progress = progress
        self._show = progress.show if isinstance(progress, DetailedProgress) else None
        self._flow = backend.flow if isinstance(backend, AsyncBackend) else None
        self._started = time.monotonic()
        self._shown = 0.0
        self._failures: Counter[str] = Counter()
        self._retried: Counter[str] = Counter()

    def of_call(self, record: CallRecord, cached: bool, retried: tuple[str, ...]) -> None:
        now = self._asking
        if record.error:
            self._failures[record.failure] += 1
        self._retried.update(retried)
        self._asking = replace(
            now,
            calls=now.calls + (not cached),
            cached=now.cached + cached,
            tokens_in=now.tokens_in + (0 if cached else record.tokens_in),
            tokens_out=now.tokens_out + (0 if cached else record.tokens_out),
        )

    def of_answer(self, answer: Answered[Any], in_flight: int) -> None:
        now = self._asking
        settled = now.settled + (answer.cached < len(answer.keys))
        self._asking = replace(now, done=now.done + 1, settled=settled)
        if self._progress is not None:
            self._progress(now.what, now.done + 1, now.total)
        if now.done + 1 == now.total or time.monotonic() - self._shown > _SHOW_EVERY:
            self.again(in_flight)

    def again(self, in_flight: int) -> None:
        if self._show is not None:
            self._shown = time.monotonic()
            self._show(
                replace(
                    self._asking,
                    seconds=self._shown - self._started,
                    failures=dict(sorted(self._failures.items())),
                    retried=dict(sorted(self._retried.items())),
                    in_flight=in_flight,
                    paused=self._flow.paused if self._flow is not None else 0.0,
                )
            )


@contextmanager
def _submitting(backend: Backend) -> Iterator[_Submit]:
    """A way to send without waiting: the backend's own, or as many threads as it has slots."""
    if isinstance(backend, AsyncBackend):
        yield backend.submit
        return
    pool = ThreadPoolExecutor(max_workers=max(1, backend.slots), thread_name_prefix="whyrank-ask")
    try:
        yield lambda messages, params: pool.submit(backend.send, messages, params)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _hand_over(arrived: _Arrived, turn: Turn, key: str, future: Future[Reply]) -> None:
    arrived.put((turn, key, future))


def _retried(future: Future[Reply]) -> tuple[str, ...]:
    return future.result().retried if future.exception() is None else ()


def _shown(raw_reply: str) -> str:
    """The beginning of what the model said, for it to see what it did."""
    try:
        content = json.loads(raw_reply)["choices"][0]["message"]["content"] or ""
    except (ValueError, KeyError, IndexError, TypeError):
        content = ""
    return " ".join(str(content).split())[:_SHOWN_OF_BAD_REPLY] or "(nothing)"
