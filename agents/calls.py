"""What is kept of every model call, and the store that keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["CallRecord", "CallStore", "MemoryStore", "call_key"]


@dataclass(frozen=True)
class CallRecord:
    """One model call as it happened, answered or not.

    Attributes
    ----------
    key : sha256 of everything that determines the reply (see `call_key`). A call that got no reply at all has
        a key of its own, so that it is asked again next time.
    purpose : what it was asked for, e.g. "causes", "details", "retry:causes".
    model : the model's name on its server.
    prompt : the messages as sent, one after the other.
    prompt_hash : hash of the prompt's template and of the rendered text, joined by ":".
    params : JSON object: temperature, max_tokens, seed, schema, sample and attempt.
    raw_reply : the reply's JSON as received; "" if there was none.
    parsed : the validated answer as JSON; None if it could not be used.
    error : "" or "kind: what was wrong".
    tokens_in, tokens_out : as counted by the server; 0 if it doesn't say.
    seconds : from sending to receiving.
    created_at : UTC, ISO 8601.
    """

    key: str
    purpose: str
    model: str
    prompt: str
    prompt_hash: str
    params: str
    raw_reply: str
    parsed: str | None
    error: str
    tokens_in: int
    tokens_out: int
    seconds: float
    created_at: str

    @property
    def failure(self) -> str:
        """The kind of failure ("cut", "not_json", "timeout", ...), or "" if the answer was used."""
        return self.error.partition(":")[0]


class CallStore(Protocol):
    """Keeps calls: `get` returns what `put` was given under that key. Both are called from one thread only."""

    def get(self, key: str) -> CallRecord | None:
        """Return the call kept under `key`, or None."""

    def put(self, record: CallRecord) -> None:
        """Keep a call; must be on disk when it returns, if the store is on disk at all."""


@dataclass
class MemoryStore:
    """A call store that lasts as long as the process.

    Examples
    --------
    >>> MemoryStore().get("nothing yet") is None
    True
    """

    records: dict[str, CallRecord] = field(default_factory=dict)

    def get(self, key: str) -> CallRecord | None:
        """Return the call kept under `key`, or None."""
        return self.records.get(key)

    def put(self, record: CallRecord) -> None:
        """Keep a call."""
        self.records[record.key] = record


def call_key(
    *, model: str, messages: Sequence[Mapping[str, str]], params: Mapping[str, Any], sample: int, attempt: int
) -> str:
    """Return the cache key of a call: sha256 over model, messages, parameters (schema included), sample and attempt."""
    material = {
        "model": model,
        "messages": [dict(message) for message in messages],
        "params": dict(params),
        "sample": sample,
        "attempt": attempt,
    }
    text = json.dumps(material, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
