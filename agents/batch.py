"""Questions as a file, answers as a file: for `vllm run-batch` and other programs that read OpenAI's batch format.

An `OfflineClient` stands in for a client: it answers from the store, and from a file of replies if it has one. Where an
answer is missing, all questions of that kind that lack one are raised as `QuestionsPending`, which is what goes into
the next file. Questions that follow from answers come in later files, and so do second tries of replies that couldn't
be used.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from whyrank.agents.backend import CallFailed, Message, Reply, read_completion, request_body
from whyrank.agents.calls import CallRecord, CallStore
from whyrank.agents.client import Answered, Client, Progress, Question
from whyrank.agents.questions import Turn, first_turn
from whyrank.datasets.atomic import replace_file
from whyrank.errors import InputError, WhyRankError
from whyrank.prompts import Language

__all__ = ["OfflineClient", "PendingCall", "QuestionsPending", "ReplyFile", "write_questions"]

A = TypeVar("A", bound=BaseModel)

_LONGEST_LINE = 8 * 2**20
_URL = "/v1/chat/completions"


@dataclass(frozen=True)
class PendingCall:
    """A call that nothing answers yet.

    Attributes
    ----------
    key : of the call, see `call_key`; the `custom_id` in the file.
    body : the request.
    attempt : 1, or which try of the question it is.
    """

    key: str
    body: Mapping[str, Any]
    attempt: int

    @property
    def line(self) -> str:
        """The call in OpenAI's batch format."""
        entry = {"custom_id": self.key, "method": "POST", "url": _URL, "body": self.body}
        return json.dumps(entry, ensure_ascii=False)


class QuestionsPending(WhyRankError):
    """Questions that the store and the file of replies don't answer; nothing that follows from them can be asked yet.

    Attributes
    ----------
    what : what is asked, as the progress bar calls it.
    calls : each once.
    questions : of that kind, answered ones too.
    """

    def __init__(self, what: str, calls: Sequence[PendingCall], questions: int) -> None:
        super().__init__(f"{len(calls)} calls for {what!r} wait for an answer")
        self.what = what
        self.calls = tuple(calls)
        self.questions = questions


@dataclass
class ReplyFile:
    """Replies in OpenAI's batch format, read one at a time as they are needed.

    Attributes
    ----------
    path : of the file.
    replies : lines that hold a reply or an error under a name.
    unreadable : lines that don't.
    taken : names that were asked for.
    """

    path: Path
    unreadable: int = 0
    taken: set[str] = field(default_factory=set)
    _places: dict[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> ReplyFile:
        """Find the replies in a file; of two under the same name the first that worked counts, else the last.

        Raises
        ------
        InputError
            If there is no such file, or nothing in it is a reply.
        """
        found = cls(path)
        works: set[str] = set()
        try:
            for place, line in _lines(path):
                entry = _entry(line)
                if entry is None:
                    found.unreadable += 1
                elif entry["custom_id"] not in works:
                    found._places[entry["custom_id"]] = place
                    if _status(entry) == 200:
                        works.add(entry["custom_id"])
        except OSError as error:
            raise InputError(f"the file of replies {str(path)!r} can't be read: {error.strerror}") from None
        if not found._places:
            raise InputError(
                f"{str(path)!r} holds no replies in OpenAI's batch format (lines like "
                '{"custom_id": "...", "response": {"status_code": 200, "body": {...}}})'
            )
        return found

    @property
    def replies(self) -> int:
        """Names that the file has a reply to."""
        return len(self._places)

    @property
    def unknown(self) -> int:
        """Replies that nobody asked for."""
        return len(self._places.keys() - self.taken)

    def take(self, name: str) -> Future[Reply] | None:
        """Return what came back under a name, as a call's future; None if the file has nothing under it."""
        place = self._places.get(name)
        if place is None:
            return None
        self.taken.add(name)
        with self.path.open("rb") as stream:
            stream.seek(place)
            entry = _entry(stream.readline(_LONGEST_LINE)) or {}
        future: Future[Reply] = Future()
        try:
            future.set_result(_reply(entry))
        except CallFailed as failed:
            future.set_exception(failed)
        return future


class OfflineClient(Client):
    """A client that has no server: it answers from the store, and from a file of replies.

    Parameters
    ----------
    model
        The model's name as it will be served: it is part of the key of each call.
    store, seed, language
        As of `Client`.
    replies
        Looked up where the store has nothing; what is found is validated and kept like a live reply.

    Attributes
    ----------
    imported : replies kept now.
    failures : of those, unusable ones by kind, and requests that got no reply.
    """

    def __init__(
        self,
        model: str,
        *,
        store: CallStore | None = None,
        seed: int = 0,
        language: Language = "en",
        replies: ReplyFile | None = None,
    ) -> None:
        super().__init__(_Nobody(model), store=store, seed=seed, language=language)
        self._replies = replies
        self._failed: set[str] = set()
        self.imported = 0
        self.failures: Counter[str] = Counter()

    def ask_all(
        self, questions: Sequence[Question[A]], *, what: str = "asking", progress: Progress | None = None
    ) -> list[Answered[A]]:
        """Answer every question, or raise what is missing.

        Raises
        ------
        QuestionsPending
            If there is no answer to some.
        """
        answers: list[Answered[A]] = []
        pending: dict[str, PendingCall] = {}
        for index, question in enumerate(questions):
            outcome = self._follow(first_turn(index, question), pending)
            if outcome is not None:
                answers.append(outcome)
            if progress is not None:
                progress(what, index + 1, len(questions))
        if pending:
            raise QuestionsPending(what, list(pending.values()), len(questions))
        return answers

    def _follow(self, turn: Turn, pending: dict[str, PendingCall]) -> Answered[Any] | None:
        """Go from try to try until there is an answer, or none yet."""
        while True:
            key = self._key(turn)
            record = self.store.get(key)
            cached = record is not None
            record = record or self._imported(turn, key)
            if record is None:
                body = request_body(self.backend.model, turn.messages, self._params(turn))
                pending.setdefault(key, PendingCall(key, body, turn.attempt))
                return None
            outcome = self._judge(turn, record, cached=cached)
            if not isinstance(outcome, Turn):
                return outcome
            turn = outcome

    def _imported(self, turn: Turn, key: str) -> CallRecord | None:
        """Keep the file's reply to a call, if it has one; a request that failed stays to be asked."""
        if self._replies is None or key in self._failed:
            return None
        reply = self._replies.take(key)
        if reply is None:
            return None
        record = self._record(turn, key, reply)
        self.store.put(record)
        if record.error:
            self.failures[record.failure] += 1
        if record.key != key:
            self._failed.add(key)
            return None
        self.imported += 1
        return record


def write_questions(pending: QuestionsPending, path: Path) -> None:
    """Write the calls that wait for an answer in OpenAI's batch format, whole or not at all.

    Raises
    ------
    InputError
        If the file can't be written.
    """
    try:
        replace_file(path, "".join(f"{call.line}\n" for call in pending.calls).encode())
    except OSError as error:
        raise InputError(f"the file of questions {str(path)!r} can't be written: {error.strerror}") from None


@dataclass(frozen=True)
class _Nobody:
    """A backend that is only a name."""

    model: str
    slots: int = 1

    def send(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Reply:
        raise CallFailed("rejected", "there is no server to ask")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line that isn't blank and where it begins; of one that is too long, the beginning."""
    with path.open("rb") as stream:
        place = 0
        while line := stream.readline(_LONGEST_LINE):
            if line.strip():
                yield place, line
            while not line.endswith(b"\n"):
                line = stream.readline(_LONGEST_LINE)
                if not line:
                    return
            place = stream.tell()


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("custom_id"), str) else None


def _status(entry: Mapping[str, Any]) -> int:
    response = entry.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    return status if isinstance(status, int) else 0


def _reply(entry: Mapping[str, Any]) -> Reply:
    status = _status(entry)
    if status != 200:
        said = " ".join(str(entry.get("error") or (entry.get("response") or {}))[:300].split())
        if status in (400, 413, 422):
            raise CallFailed("rejected", f"status {status}: {said}")
        raise CallFailed("overloaded" if status == 429 else "server_error", f"status {status}: {said}")
    try:
        return read_completion(json.dumps(entry["response"]["body"]))
    except (ValueError, KeyError) as error:
        raise CallFailed("not_a_completion", f"the file holds no chat completion ({error})") from None
