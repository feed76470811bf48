"""How likely a model finds texts: asked at once, kept as calls, never asked twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime

from whyrank.agents.backend import CallFailed
from whyrank.agents.calls import CallRecord, call_key
from whyrank.agents.client import Client, Progress, Usage
from whyrank.agents.sequence_scores import ScoringBackend, SequenceScore
from whyrank.errors import InputError, ServerError

__all__ = ["PURPOSE", "Likelihood", "Scored", "likelihood_usage", "score_all"]

PURPOSE = "likelihood"
"""Purpose of such calls in the ledger."""

_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True)
class Scored:
    """A text whose `continuation` is scored, given its `prefix`, which must not be empty.

    Raises
    ------
    InputError
        If a part is empty.
    """

    prefix: str
    continuation: str

    def __post_init__(self) -> None:
        if not self.prefix or not self.continuation:
            raise InputError(f"a text to score needs a prefix and a continuation, got {self!r}")


@dataclass(frozen=True)
class Likelihood:
    """Log-probability (nats) of a continuation, and how many tokens it has; `key` is its call's in the ledger."""

    logprob: float
    tokens: int
    key: str = ""
    cached: bool = False


def score_all(
    client: Client, texts: Sequence[Scored], *, what: str = "likelihoods", progress: Progress | None = None
) -> list[Likelihood | None]:
    """Return how likely the client's model finds each continuation, or None where it could not be told.

    Each is a call in the client's store, of purpose "likelihood": what is there is not asked again. A text without a
    score is asked again next time.

    Raises
    ------
    InputError
        If the client's backend gives no likelihoods at all.
    ServerError
        If the server is gone, or no longer answers anything.
    """
    backend = client.backend
    if not isinstance(backend, ScoringBackend):
        raise InputError(f"{type(backend).__name__} gives no likelihoods")
    found: dict[Scored, Likelihood | None] = {}
    distinct = list(dict.fromkeys(texts))
    for text in distinct:
        record = client.store.get(_key(client, text))
        if record is not None:
            found[text] = _likelihood(record, cached=True)
    todo = [text for text in distinct if text not in found]
    in_a_row = 0
    pool = ThreadPoolExecutor(max_workers=max(1, backend.slots), thread_name_prefix="whyrank-score")
    try:
        futures: dict[Future[tuple[SequenceScore, float]], Scored] = {
            pool.submit(_timed, backend, text): text for text in todo
        }
        for future in as_completed(futures):
            text = futures[future]
            record = _record(client, text, future)
            client.store.put(record)
            found[text] = _likelihood(record, cached=False)
            lost = bool(record.failure) and record.failure != "rejected"
            in_a_row = in_a_row + 1 if lost else 0
            if record.failure == "unreachable" or in_a_row >= _FAILURES_IN_A_ROW:
                raise ServerError(f"the model server stopped answering ({record.error})")
            if progress is not None:
                progress(what, len(found), len(distinct))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [found[text] for text in texts]


def likelihood_usage(likelihoods: Sequence[Likelihood | None]) -> Usage:
    """Add up what scores cost; one that could not be told is a failure of kind "no_likelihood"."""
    told = {likelihood.key: likelihood for likelihood in likelihoods if likelihood is not None}
    missing = sum(likelihood is None for likelihood in likelihoods)
    cached = sum(likelihood.cached for likelihood in told.values())
    return Usage(
        questions=len(told) + missing,
        unanswered=missing,
        calls=len(told) + missing - cached,
        cached=cached,
        failures={"no_likelihood": missing} if missing else {},
    )


def _timed(backend: ScoringBackend, text: Scored) -> tuple[SequenceScore, float]:
    started = time.monotonic()
    score = backend.score(text.prefix, text.continuation)
    return score, time.monotonic() - started


def _key(client: Client, text: Scored) -> str:
    messages = [{"role": "prefix", "content": text.prefix}, {"role": "continuation", "content": text.continuation}]
    return call_key(model=client.backend.model, messages=messages, params={"kind": PURPOSE}, sample=0, attempt=1)


def _record(client: Client, text: Scored, future: Future[tuple[SequenceScore, float]]) -> CallRecord:
    """The record of a finished call; one without a score has a key that no later call will find."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    key = _key(client, text)
    raw, parsed, error, count, seconds = "", None, "", 0, 0.0
    try:
        score, seconds = future.result()
        raw, count = score.raw, len(score.logprobs)
        parsed = json.dumps({"logprob": sum(score.logprobs), "tokens": count})
    except CallFailed as failed:
        error = f"{failed.kind}: {failed}"
        key = hashlib.sha256(f"{key}/{now}".encode()).hexdigest()
    prompt = f"[prefix]\n{text.prefix}\n\n[continuation]\n{text.continuation}"
    return CallRecord(
        key=key,
        purpose=PURPOSE,
        model=client.backend.model,
        prompt=prompt,
        prompt_hash=hashlib.sha256(prompt.encode()).hexdigest()[:16],
        params=json.dumps({"kind": PURPOSE}),
        raw_reply=raw,
        parsed=parsed,
        error=error,
        tokens_in=count,
        tokens_out=0,
        seconds=seconds,
        created_at=now,
    )


def _likelihood(record: CallRecord, *, cached: bool) -> Likelihood | None:
    if record.parsed is None:
        return None
    told = json.loads(record.parsed)
    return Likelihood(float(told["logprob"]), int(told["tokens"]), record.key, cached)
