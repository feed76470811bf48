"""What a model server can do, found out by asking it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whyrank.agents.backend import CallFailed, OpenAIBackend, Reply
from whyrank.agents.replies import read_reply
from whyrank.agents.schemas import answer_model, json_schema
from whyrank.errors import ServerError
from whyrank.prompts import Language, load_prompt

__all__ = ["COSTS", "ProbeResult", "probe"]

COSTS: Mapping[str, str] = {
    "chat": "it can't be used at all",
    "schema": "replies that don't fit are asked for again: more calls, and some questions stay unanswered",
    "logprobs": "confidence rests on votes alone",
    "embeddings": "texts can't be compared by meaning through this server",
}
"""What each missing ability costs."""

_NONSENSE = ("zq-1", "zq-2")
"""Words that no model answers by itself, only under an enforced schema."""


@dataclass(frozen=True)
class ProbeResult:
    """What a server answered to.

    Attributes
    ----------
    base_url, model : who was asked; `models` is what the server lists.
    chat : it answers at all.
    schema : it enforces a JSON schema on its answer.
    logprobs, embeddings : it gives log-probabilities, and embeddings.
    tokens_per_second : generated in one request, or None if it doesn't count tokens.
    details : by ability, why it is missing.
    """

    base_url: str
    model: str
    models: tuple[str, ...]
    chat: bool
    schema: bool
    logprobs: bool
    embeddings: bool
    tokens_per_second: float | None
    details: Mapping[str, str]

    @property
    def missing(self) -> dict[str, str]:
        """What each ability that the server lacks costs."""
        return {ability: cost for ability, cost in COSTS.items() if not getattr(self, ability)}


def probe(backend: OpenAIBackend, *, language: Language = "en") -> ProbeResult:
    """Ask a server for everything once.

    Raises
    ------
    ServerError
        If it can't be reached.
    """
    models = tuple(backend.models())
    details: dict[str, str] = {}
    prompt = load_prompt("probe", language).render()

    def ask(ability: str, **params: Any) -> Reply | None:
        settings = {"temperature": 0.0, "max_tokens": 64, "seed": 1, "schema": None} | params
        try:
            return backend.send(prompt.messages, settings)
        except (CallFailed, ServerError) as error:
            details[ability] = str(error)
            return None

    said = ask("chat")
    chat = said is not None and bool(said.content.strip() or said.reasoning.strip())
    nonsense = answer_model({"word": _NONSENSE})
    bound = ask("schema", schema=json_schema(nonsense), max_tokens=512) if chat else None
    schema = bound is not None and read_reply(bound, nonsense).answer is not None
    if bound is not None and not schema:
        details["schema"] = f"it answered {bound.content[:60]!r} where the schema allows only {_NONSENSE}"
    scored = ask("logprobs", logprobs=True, max_tokens=4) if chat else None
    logprobs = scored is not None and _has_logprobs(scored)
    try:
        embeddings = bool(backend.embed(["mug"])[0])
    except (ServerError, IndexError) as error:
        embeddings = False
        details["embeddings"] = str(error)
    return ProbeResult(
        base_url=backend.endpoint.base_url,
        model=backend.model,
        models=models,
        chat=chat,
        schema=schema,
        logprobs=logprobs,
        embeddings=embeddings,
        tokens_per_second=said.tokens_out / said.seconds if said and said.tokens_out and said.seconds else None,
        details=details,
    )


def _has_logprobs(reply: Reply) -> bool:
    choice = json.loads(reply.raw)["choices"][0]
    return bool((choice.get("logprobs") or {}).get("content"))
