"""The one client: every question to a model goes through here, with its schema, its tries, its cache and its record."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from whyrank.agents.backend import Backend, CallFailed, Message, Reply
from whyrank.agents.calls import CallRecord, CallStore, MemoryStore, call_key
from whyrank.agents.replies import read_reply
from whyrank.agents.schemas import json_schema
from whyrank.errors import ServerError
from whyrank.prompts import Language, RenderedPrompt, load_prompt

__all__ = ["Answered", "Client", "Progress", "Question", "Usage"]

A = TypeVar("A", bound=BaseModel)

_TRIES = 3
_SHOWN_OF_BAD_REPLY = 120
_MORE_ROOM = 1.5
_FAILURES_IN_A_ROW = 5


class Progress(Protocol):
    """Called now and then with what is being done, and how much of it is done."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show it."""


@dataclass(frozen=True)
class Question(Generic[A]):
    """One thing asked of a model.

    Attributes
    ----------
    prompt : rendered; its text is what is sent.
    schema : what the answer must be.
    purpose : for the record, e.g. "causes".
    sample : the same question with another sample number is another draw.
    max_tokens, temperature : as the server understands them.
    """

    prompt: RenderedPrompt
    schema: type[A]
    purpose: str
    sample: int = 0
    max_tokens: int = 256
    temperature: float = 0.7


@dataclass(frozen=True)
class Answered(Generic[A]):
    """What became of a question.

    Attributes
    ----------
    answer : validated; None if three tries gave nothing usable.
    keys : of the calls it took, in order.
    failures : what was wrong with each call that couldn't be used ("kind: sentence").
    cached : how many of the calls were answered by the store.
    """

    answer: A | None
    keys: tuple[str, ...]
    failures: tuple[str, ...] = ()
    cached: int = 0


@dataclass(frozen=True)
class Usage:
    """What a set of questions cost.

    Attributes
    ----------
    questions, unanswered : asked, and given up after three tries.
    calls, cached : requests sent to the model, and requests that the store answered.
    failures : unusable calls by kind, sent or cached.
    """

    questions: int = 0
    unanswered: int = 0
    calls: int = 0
    cached: int = 0
    failures: Mapping[str, int] | None = None

    @classmethod
    def of(cls, answers: Sequence[Answered[Any]]) -> Usage:
        """Add up answers."""
        kinds = Counter(failure.partition(":")[0] for answer in answers for failure in answer.failures)
        cached = sum(answer.cached for answer in answers)
        return cls(
            questions=len(answers),
            unanswered=sum(answer.answer is None for answer in answers),
            calls=sum(len(answer.keys) for answer in answers) - cached,
            cached=cached,
            failures=dict(sorted(kinds.items())),
        )


@dataclass(frozen=True)
class _Turn:
    """One call about to be made: a question on its way to an answer."""

    index: int
    question: Question[Any]
    messages: tuple[Message, ...]
    max_tokens: int
    attempt: int = 1
    so_far: Answered[Any] = Answered(None, ())


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

        A question that gets no usable answer in three tries, or no reply, is answered with None; its failures
        say why.

        Raises
        ------
        ServerError
            If the server is gone, or no longer answers anything.
        """
        answers: list[Answered[A] | None] = [None] * len(questions)
        queue = deque(_first_turn(index, question) for index, question in enumerate(questions))
        pool = ThreadPoolExecutor(max_workers=max(1, self.backend.slots), thread_name_prefix="whyrank-ask")
        running: dict[Future[Reply], tuple[_Turn, str]] = {}
        parked: dict[str, list[_Turn]] = {}
        done, in_a_row = 0, 0

        def settle(turn: _Turn, record: CallRecord, cached: bool) -> None:
            nonlocal done
            outcome = self._judge(turn, record, cached)
            if isinstance(outcome, _Turn):
                queue.appendleft(outcome)
                return
            answers[turn.index] = outcome
            done += 1
            if progress is not None:
                progress(what, done, len(questions))

        try:
            while queue or running:
                while queue and len(running) < self.backend.slots:
                    turn = queue.popleft()
                    key = self._key(turn)
                    if any(key == other for _, other in running.values()):
                        parked.setdefault(key, []).append(turn)
                    elif (record := self.store.get(key)) is not None:
                        settle(turn, record, True)
                    else:
                        running[pool.submit(self.backend.send, turn.messages, self._params(turn))] = (turn, key)
                if not running:
                    continue
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    turn, key = running.pop(future)
                    record = self._record(turn, key, future)
                    self.store.put(record)
                    in_a_row = in_a_row + 1 if _no_reply(record) else 0
                    if record.failure == "unreachable" or in_a_row >= _FAILURES_IN_A_ROW:
                        raise ServerError(f"the model server stopped answering ({record.error})")
                    settle(turn, record, False)
                    queue.extendleft(parked.pop(key, []))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return [answer for answer in answers if answer is not None]

    def _params(self, turn: _Turn) -> dict[str, Any]:
        question = turn.question
        mixed = f"{self._seed}/{question.sample}/{turn.attempt}".encode()
        return {
            "temperature": question.temperature,
            "max_tokens": turn.max_tokens,
            "seed": int.from_bytes(hashlib.sha256(mixed).digest()[:4]) >> 1,
            "schema": json_schema(question.schema),
        }

    def _key(self, turn: _Turn) -> str:
        return call_key(
            model=self.backend.model,
            messages=turn.messages,
            params=self._params(turn),
            sample=turn.question.sample,
            attempt=turn.attempt,
        )

    def _record(self, turn: _Turn, key: str, future: Future[Reply]) -> CallRecord:
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

    def _judge(self, turn: _Turn, record: CallRecord, cached: bool) -> Answered[Any] | _Turn:
        """The answer that a call gave, or the next try."""
        so_far = replace(
            turn.so_far,
            keys=(*turn.so_far.keys, record.key),
            cached=turn.so_far.cached + cached,
            failures=(*turn.so_far.failures, record.error) if record.error else turn.so_far.failures,
        )
        if record.parsed is not None:
            return replace(so_far, answer=turn.question.schema.model_validate_json(record.parsed))
        if turn.attempt >= _TRIES or _no_reply(record) or record.failure == "rejected":
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


def _first_turn(index: int, question: Question[Any]) -> _Turn:
    return _Turn(index, question, tuple(question.prompt.messages), question.max_tokens)


def _no_reply(record: CallRecord) -> bool:
    return record.failure in ("timeout", "unreachable", "overloaded", "server_error")


def _shown(raw_reply: str) -> str:
    """The beginning of what the model said, for it to see what it did."""
    try:
        content = json.loads(raw_reply)["choices"][0]["message"]["content"] or ""
    except (ValueError, KeyError, IndexError, TypeError):
        content = ""
    return " ".join(content.split())[:_SHOWN_OF_BAD_REPLY] or "(nothing)"
