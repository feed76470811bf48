"""A model that says what it is told to say: for tests and examples, ours and others'."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from whyrank.agents.backend import CallFailed, Message, Reply
from whyrank.errors import InputError

__all__ = ["ScriptedModel", "Sent", "agree"]

Said = str | Mapping[str, Any] | Reply | CallFailed


@dataclass(frozen=True)
class Sent:
    """A request as the model saw it."""

    messages: tuple[Message, ...]
    params: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The last message's text."""
        return self.messages[-1]["content"]


def agree(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return an answer under a JSON schema that finds everything likely and names the first name it is offered.

    Examples
    --------
    >>> agree({"properties": {"items.price": {"enum": ["unlikely", "likely"]}, "why": {"type": "string"}}})
    {'items.price': 'likely', 'why': 'people look at it'}
    """
    said = {}
    for field_name, asked in schema["properties"].items():
        words = asked.get("enum") or ([asked["const"]] if "const" in asked else [])
        liked = [word for word in ("likely", "raises") if word in words]
        names = sorted(word for word in words if "." in word)
        said[field_name] = (liked or names or sorted(words) or ["people look at it"])[0]
    return said


@dataclass
class ScriptedModel:
    """A backend that answers from a list, in order, or by a function of the request; it keeps what it was sent.

    A mapping is sent as JSON, a text as it is, a `Reply` whole; a `CallFailed` is raised.

    Examples
    --------
    >>> model = ScriptedModel([{"answer": "yes"}])
    >>> model.send([{"role": "user", "content": "Well?"}], {}).content
    '{"answer": "yes"}'
    >>> model.sent[0].text
    'Well?'
    """

    script: Sequence[Said] | Callable[[Sent], Said]
    model: str = "scripted"
    slots: int = 1
    sent: list[Sent] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def send(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Reply:
        """Answer with the next line of the script.

        Raises
        ------
        InputError
            If the script has no further line.
        """
        request = Sent(tuple(messages), dict(params))
        with self._lock:
            self.sent.append(request)
            turn = len(self.sent) - 1
        if callable(self.script):
            said = self.script(request)
        elif turn < len(self.script):
            said = self.script[turn]
        else:
            raise InputError(f"the script has {len(self.script)} lines, and the model was asked {turn + 1} times")
        if isinstance(said, CallFailed):
            raise said
        if isinstance(said, Reply):
            return said if said.raw else _with_raw(said)
        content = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        return _with_raw(Reply(content))


def _with_raw(reply: Reply) -> Reply:
    message = {"role": "assistant", "content": reply.content, "reasoning_content": reply.reasoning}
    raw = json.dumps({"choices": [{"message": message, "finish_reason": reply.finish}]}, ensure_ascii=False)
    return replace(reply, raw=raw)
