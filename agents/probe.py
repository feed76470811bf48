"""What a model server can do, found out by asking it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whyrank.agents.backend import CallFailed, OpenAIBackend, Reply
from whyrank.agents.replies import read_reply
from whyrank.agents.schemas import answer_model, json_schema
from whyrank.agents.speed import Speed, measure_speed
from whyrank.errors import ServerError
from whyrank.prompts import Language, load_prompt

__all__ = ["COSTS", "ProbeResult", "probe"]

COSTS: Mapping[str, str] = {
    "chat": "it can't be used at all",
    "schema": "replies that don't fit are asked for again: more calls, and some questions stay unanswered",
    "logprobs": "confidence rests on votes alone",
    "likelihood": "directions rest on votes, which small models cast at random",
    "embeddings": "texts can't be compared by meaning through this server",
}
"""What each missing ability costs."""

_NONSENSE = ("zq-1", "zq-2")
"""Words that no model answers by itself, only under an enforced schema."""

_BEGUN = "The capital of France is"
_SENSE, _RUBBISH = " Paris.", " xylophone, of, never, (of."
"""A text goes on one way rather than the other for any model that knows a language at all."""

_SHOWN = 60


@dataclass(frozen=True)
class ProbeResult:
    """What a server answered to.

    Attributes
    ----------
    base_url, model : who was asked; `models` is what the server lists.
    chat : it answers at all.
    schema : it enforces a JSON schema on its answer.
    logprobs : it tells log-probabilities of what it generates.
    likelihood : it tells log-probabilities of a text that it is given, by echo or token by token.
    embeddings : it turns texts into vectors.
    speed : None if that wasn't asked, or it stopped answering.
    details : by ability, why it is missing.
    """

    base_url: str
    model: str
    models: tuple[str, ...]
    chat: bool
    schema: bool
    logprobs: bool
    likelihood: bool
    embeddings: bool
    speed: Speed | None
    details: Mapping[str, str]

    @property
    def missing(self) -> dict[str, str]:
        """What each ability that the server lacks costs."""
        return {ability: cost for ability, cost in COSTS.items() if not getattr(self, ability)}

    @property
    def usable(self) -> bool:
        """Whether proposals can be had from it: it answers, in the form that is asked for."""
        return self.chat and self.schema


def probe(
    backend: OpenAIBackend,
    *,
    language: Language = "en",
    speed: bool = True,
    note: Callable[[str], None] | None = None,
) -> ProbeResult:
    """Ask a server for everything once.

    Parameters
    ----------
    backend
        The server.
    language
        Of the prompt.
    speed
        Whether to measure how fast it is, which takes some dozens of requests.
    note
        Called with what is being tried.

    Raises
    ------
    ServerError
        If it can't be reached.
    """
    models = tuple(backend.models())
    details: dict[str, str] = {}
    prompt = load_prompt("probe", language).render()

    def ask(ability: str, **params: Any) -> Reply | None:
        if note is not None:
            note(ability)
        settings = {"temperature": 0.0, "max_tokens": 64, "seed": 1, "schema": None} | params
        try:
            return backend.send(prompt.messages, settings)
        except (CallFailed, ServerError) as error:
            details[ability] = str(error)
            return None

    said = ask("chat")
    chat = said is not None and bool(said.content.strip() or said.reasoning.strip())
    if said is not None and not chat:
        details["chat"] = "its answer was empty"
    nonsense = answer_model({"word": _NONSENSE})
    bound = ask("schema", schema=json_schema(nonsense), max_tokens=512) if chat else None
    schema = bound is not None and read_reply(bound, nonsense).answer is not None
    if bound is not None and not schema:
        details["schema"] = f"it answered {bound.content[:_SHOWN]!r} where the schema allows only {_NONSENSE}"
    scored = ask("logprobs", logprobs=True, max_tokens=4) if chat else None
    beside: dict[str, bool] = {}
    for ability, trial in {"likelihood": _likelihood, "embeddings": _embeddings}.items():
        if note is not None:
            note(ability)
        details[ability] = trial(backend) if chat else "it doesn't answer"
        beside[ability] = not details[ability]
    if note is not None:
        note("speed")
    return ProbeResult(
        base_url=backend.endpoint.base_url,
        model=backend.model,
        models=models,
        chat=chat,
        schema=schema,
        logprobs=scored is not None and _has_logprobs(scored),
        likelihood=beside["likelihood"],
        embeddings=beside["embeddings"],
        speed=measure_speed(backend, schema=schema, language=language) if speed and chat else None,
        details={ability: said for ability, said in details.items() if said},
    )


def _has_logprobs(reply: Reply) -> bool:
    choice = json.loads(reply.raw)["choices"][0]
    return bool((choice.get("logprobs") or {}).get("content"))


def _likelihood(backend: OpenAIBackend) -> str:
    """Why the server's likelihoods can't be used; "" if they can."""
    try:
        sense, rubbish = (backend.score(_BEGUN, rest).logprobs for rest in (_SENSE, _RUBBISH))
    except (CallFailed, ServerError) as error:
        return str(error)
    if sum(sense) / len(sense) <= sum(rubbish) / len(rubbish):
        return f"it finds {_BEGUN + _RUBBISH!r} no less likely than {_BEGUN + _SENSE!r}"
    return ""


def _embeddings(backend: OpenAIBackend) -> str:
    """Why the server's embeddings can't be used; "" if they can."""
    try:
        one, other = backend.embed(["mug", "a bill for the repair of a tractor"])
    except (ServerError, ValueError) as error:
        return str(error)
    return "" if one and one != other else "different texts get the same vector"
