"""The probe, against servers that can do a thing, can't, or pretend to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from whyrank.agents.backend import OpenAIBackend
from whyrank.agents.endpoint import Endpoint
from whyrank.agents.probe import COSTS, ProbeResult, probe

Serve = Callable[..., Any]


def found_at(url: str, *, slots: int = 4, speed: bool = False) -> ProbeResult:
    with closing(OpenAIBackend(Endpoint(url, slots=slots), retries=0)) as backend:
        return probe(backend, speed=speed)


def able(completed: Callable[..., Any], body: dict[str, Any], *, sure: bool = True) -> Any:
    """What a server that can do everything answers; one that isn't sure finds all texts equally likely."""
    if "input" in body:
        return {"object": "list", "data": [{"embedding": [float(len(text)), 1.0]} for text in body["input"]]}
    if "prompt" in body:
        tokens = body["prompt"].split(" ")
        logprobs = [None, *(-1.0 if t in "The capital of France is Paris." or not sure else -9.0 for t in tokens[1:])]
        texts = [tokens[0], *(f" {token}" for token in tokens[1:]), " x"]
        told = {"tokens": texts, "token_logprobs": [*logprobs, -1.0]}
        usage = {"prompt_tokens": len(tokens), "completion_tokens": 1}
        return {"choices": [{"text": "", "logprobs": told}], "usage": usage}
    if "response_format" in body:
        properties = body["response_format"]["json_schema"]["schema"]["properties"]
        inside = ",".join(f'"{name}":"{what["enum"][0]}"' for name, what in properties.items())
        return completed(f"{{{inside}}}")
    reply = completed("A shop sells things.")
    if body.get("logprobs"):
        reply["choices"][0]["logprobs"] = {"content": [{"token": "A", "logprob": -0.5, "top_logprobs": []}]}
    return reply


def test_a_server_that_can_do_everything_lacks_nothing(serve: Serve, completed: Callable[..., Any]) -> None:
    server = serve(lambda n, body: able(completed, body))
    found = found_at(server.url, speed=True)
    assert found.missing == found.details == {}
    assert found.usable
    assert found.speed is not None
    assert found.speed.in_flight == 4
    assert found.speed.together > 0
    seeds = [body["seed"] for body in server.requests if "seed" in body and body["max_tokens"] == 48]
    assert len(seeds) == 1 + 1 + 3 + 2 * 4
    assert len(set(seeds)) == len(seeds), "the same request twice may be answered from a cache"


def test_a_server_that_ignores_the_schema_is_found_out(
    serve: Serve, say: Callable[..., Any], completed: Callable[..., Any]
) -> None:
    server = serve(lambda n, body: completed("We sell mugs.") if "messages" in body else say(404, {"error": {}}))
    found = found_at(server.url)
    assert set(found.missing) == set(COSTS) - {"chat"}
    assert "We sell mugs" in found.details["schema"]
    assert not found.usable
    assert found.models == ("fake",)


def test_likelihoods_that_are_the_same_for_sense_and_rubbish_are_none(
    serve: Serve, completed: Callable[..., Any]
) -> None:
    server = serve(lambda n, body: able(completed, body, sure=False))
    found = found_at(server.url)
    assert list(found.missing) == ["likelihood"]
    assert "no less likely" in found.details["likelihood"]


def test_the_same_vector_for_every_text_is_no_embedding(serve: Serve, completed: Callable[..., Any]) -> None:
    def answer(n: int, body: dict[str, Any]) -> Any:
        same = {"data": [{"embedding": [0.0, 0.0]}] * 2}
        return same if "input" in body else able(completed, body)

    assert list(found_at(serve(answer).url).missing) == ["embeddings"]


def test_a_server_that_answers_nothing_is_asked_nothing_else(serve: Serve, completed: Callable[..., Any]) -> None:
    server = serve(lambda n, body: completed(""))
    found = found_at(server.url, speed=True)
    assert (found.usable, found.chat, found.speed) == (False, False, None)
    assert len(server.requests) == 1
    assert found.details["chat"] == "its answer was empty"


def test_a_server_that_fails_after_the_first_answer_has_no_speed(
    serve: Serve, say: Callable[..., Any], completed: Callable[..., Any]
) -> None:
    server = serve(lambda n, body: completed("Mugs.") if n == 0 else say(500, {"error": {"message": "out of memory"}}))
    found = found_at(server.url, speed=True)
    assert found.chat
    assert found.speed is None
    assert "out of memory" in found.details["schema"]
