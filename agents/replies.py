"""From a reply to a validated answer, or to the name of what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from whyrank.agents.backend import Reply
from whyrank.agents.schemas import Schema

__all__ = ["Problem", "ProblemKind", "Read", "read_reply"]

ProblemKind = Literal[
    "cut", "white_space", "empty", "reasoning_only", "filtered", "not_json", "unknown_name", "wrong_shape"
]
"""What can be wrong with a reply that did arrive."""

_LONGEST = 200_000

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """Why a reply can't be used; `detail` is a sentence that the model itself can be told."""

    kind: ProblemKind
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True)
class Read(Generic[Answer]):
    """A reply as read: the answer, or the problem."""

    answer: Answer | None
    problem: Problem | None


def read_reply(reply: Reply, schema: Schema[Answer]) -> Read[Answer]:
    """Validate a reply against the schema, or say what is wrong with it.

    An answer is taken wherever the server put it: some put schema-bound JSON into the reasoning field and leave
    the content empty. A reply that reached its token limit after the JSON was whole is whole.
    """
    first = _read_text(reply.content, schema)
    if first.answer is not None:
        return first
    if not reply.content.strip() and reply.reasoning.strip():
        second = _read_text(reply.reasoning, schema)
        if second.answer is not None:
            return second
        return _problem(
            "reasoning_only",
            "the answer was empty and all the text was in the reasoning; the answer itself must hold the JSON object",
        )
    if reply.finish == "content_filter":
        return _problem("filtered", "the server's content filter withheld the answer")
    if _mostly_white(reply.content):
        return _problem("white_space", "the answer was endless white space; write the JSON object on one line")
    if not reply.content.strip():
        return _problem("empty", "the answer was empty")
    if reply.finish == "length":
        return _problem(
            "cut", "the answer was too long and was cut off before the JSON object ended; keep every text short"
        )
    return first


def _read_text(text: str, schema: Schema[Answer]) -> Read[Answer]:
    if len(text) > _LONGEST:
        return _problem("not_json", f"the answer had {len(text):,} characters; it must be one short JSON object")
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can't be kept
    except (ValueError, RecursionError) as error:
        return _problem("not_json", f"the answer was not a JSON object ({error})")
    try:
        return Read(schema.model_validate(value), None)
    except ValidationError as error:
        worst = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in worst["loc"])[:60] or "the object"
        invented = worst["type"] in ("literal_error", "enum", "extra_forbidden")
        shown = str(worst["input"])[:60]
        return _problem(
            "unknown_name" if invented else "wrong_shape", f"at {place!r}: {worst['msg']}; the answer had {shown!r}"
        )


def _mostly_white(text: str) -> bool:
    """Whether white space fills a long reply: a known way for schema-bound models to run on."""
    return len(text) >= 40 and len("".join(text.split())) < 0.2 * len(text)


def _problem(kind: ProblemKind, detail: str) -> Read[Answer]:
    return Read(None, Problem(kind, detail))
