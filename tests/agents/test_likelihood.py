"""Likelihoods of given texts: by echo, by forced tokens, one token at a time; kept, and never asked twice."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from whyrank.agents.backend import CallFailed, OpenAIBackend
from whyrank.agents.calls import MemoryStore
from whyrank.agents.client import Client
from whyrank.agents.connect import open_backend
from whyrank.agents.endpoint import Endpoint
from whyrank.agents.likelihood import Scored, likelihood_usage, score_all
from whyrank.agents.scripted import ScriptedModel
from whyrank.agents.sequence_scores import SequenceScore
from whyrank.config import LlmConfig
from whyrank.errors import InputError, ServerError

Serve = Callable[..., Any]

LIKES = {"the": -1.0, "sky": -2.0, "is": -0.5, "blue": -0.25, ".": -0.125}


def pieces(text: str) -> list[str]:
    """Words with the space before them, and a full stop of its own."""
    return [piece.replace("_", " ") for piece in text.replace(" ", "|_").replace(".", "|.").split("|") if piece]


def liked(piece: str) -> float:
    return LIKES[piece.strip()]


def echoing(body: dict[str, Any], *, begin: str = "") -> dict[str, Any]:
    """What a server that echoes prompts answers; some put a token for the beginning first."""
    tokens = [begin, *pieces(body["prompt"])] if begin else pieces(body["prompt"])
    logprobs = [None, *(liked(token) for token in tokens[1:])]
    told = {"tokens": [*tokens, " and"], "token_logprobs": [*logprobs, -9.0]}
    return {
        "choices": [{"text": "", "logprobs": told}],
        "usage": {"prompt_tokens": len(tokens), "completion_tokens": 1},
    }


@dataclass
class Llama:
    """llama.cpp's own paths: numbers for tokens, and log-probabilities of what is generated only.

    It generates what a grammar or a bias makes it generate; `grammars` says whether it knows grammars of token numbers,
    `parts` which tokens are parts of characters, of which it tells nothing when it generates them.
    """

    say: Callable[..., Any]
    grammars: bool = True
    parts: tuple[str, ...] = ()
    swerves: bool = False

    def __call__(self, number: int, body: dict[str, Any]) -> Any:
        names = list(LIKES)
        if "content" in body:
            told = [names.index(piece.strip()) for piece in pieces(body["content"])]
            return {
                "tokens": [{"id": i, "piece": [230] if names[i] in self.parts else names[i]} for i in told],
            }
        if "n_predict" not in body:
            return {"choices": [{"text": " x", "logprobs": {"content": []}}], "usage": {}}
        if "grammar" in body:
            if not self.grammars:
                return self.say(400, {"error": {"message": "failed to parse grammar"}})
            made = [int(i.strip("<[]>")) for i in body["grammar"].removeprefix("root ::= ").split()]
        else:
            made = [token for token, _ in body["logit_bias"]]
        if self.swerves:
            made = [0 for _ in made]
        likeliest = sorted(range(len(names)), key=lambda i: -LIKES[names[i]])[: body["n_probs"]]
        listed = [{"id": i, "logprob": LIKES[names[i]]} for i in likeliest]
        steps = [{"id": i, "logprob": LIKES[names[i]], "top_logprobs": listed} for i in made]
        return {"completion_probabilities": steps}


def score_at(url: str, prefix: str, continuation: str) -> SequenceScore:
    with closing(OpenAIBackend(Endpoint(url), retries=0)) as backend:
        return backend.score(prefix, continuation)


@pytest.mark.parametrize("begin", ["", "<s>"])
def test_an_echoed_prompt_is_scored_from_where_the_continuation_begins(serve: Serve, begin: str) -> None:
    server = serve(lambda n, body: echoing(body, begin=begin))
    found = score_at(server.url, "the sky", " is blue.")
    assert found == SequenceScore((-0.5, -0.25, -0.125), "echo")
    assert server.requests[0]["echo"] is True
    assert server.requests[0]["max_tokens"] == 1


def test_where_tokens_are_pieces_of_characters_the_prefix_is_echoed_too(serve: Serve) -> None:
    def broken(_: int, body: dict[str, Any]) -> dict[str, Any]:
        reply = echoing(body)
        told = reply["choices"][0]["logprobs"]
        told["tokens"] = [token.replace("is", "�") for token in told["tokens"]]
        return reply

    server = serve(broken)
    assert score_at(server.url, "the sky", " is blue.").logprobs == (-0.5, -0.25, -0.125)
    assert [body["prompt"] for body in server.requests] == ["the sky is blue.", "the sky"]


def test_a_server_that_ignores_echo_is_made_to_generate_the_text(serve: Serve, say: Callable[..., Any]) -> None:
    server = serve(Llama(say))
    found = score_at(server.url, "the sky", " is blue.")
    assert found == SequenceScore((-0.5, -0.25, -0.125), "grammar")
    forced = server.requests[-1]
    assert forced["prompt"] == [0, 1]
    assert forced["grammar"] == "root ::= <[2]> <[3]> <[4]>"
    assert forced["n_predict"] == 3


def test_without_grammars_of_tokens_they_are_stepped_through(serve: Serve, say: Callable[..., Any]) -> None:
    server = serve(Llama(say, grammars=False))
    assert score_at(server.url, "the sky", " is blue.") == SequenceScore((-0.5, -0.25, -0.125), "steps")
    steps = [body for body in server.requests if "logit_bias" in body]
    assert [body["prompt"] for body in steps] == [[0, 1], [0, 1, 2], [0, 1, 2, 3]]
    assert [body["logit_bias"][0][0] for body in steps] == [2, 3, 4]


def test_a_part_of_a_character_is_looked_up_among_the_likeliest(serve: Serve, say: Callable[..., Any]) -> None:
    server = serve(Llama(say, parts=("blue",)))
    assert score_at(server.url, "the sky", " is blue.").logprobs == (-0.5, -0.25, -0.125)
    looked_up = next(body for body in server.requests if body.get("n_probs", 1) > 1)
    assert looked_up["prompt"] == [0, 1, 2]
    assert looked_up["logit_bias"][0][0] == 4, "another token is generated in its place"


def test_tokens_that_were_not_asked_for_are_no_score(serve: Serve, say: Callable[..., Any]) -> None:
    server = serve(Llama(say, swerves=True))
    with closing(OpenAIBackend(Endpoint(server.url), retries=0)) as backend:
        with pytest.raises(CallFailed, match=r"grammar: .*\[2, 3, 4\] were asked for and \[0, 0, 0\] came") as failed:
            backend.score("the sky", " is blue.")
        asked = len(server.requests)
        with pytest.raises(CallFailed):
            backend.score("the sky", " is")
    assert failed.value.kind == "rejected"
    assert len(server.requests) == asked, "a server that can't tell isn't asked again"


@pytest.mark.parametrize("logprobs", [[None, 0.5, -1.0], [None, float("nan"), -1.0], [None, None, -1.0]])
def test_what_is_no_log_probability_is_no_score(serve: Serve, logprobs: list[Any]) -> None:
    told = {"tokens": ["the", " sky", " is"], "token_logprobs": logprobs}
    body = {"choices": [{"logprobs": told}], "usage": {"prompt_tokens": 3, "completion_tokens": 0}}
    server = serve(lambda n, asked: body if "echo" in asked else {})
    with pytest.raises(CallFailed, match="tells no log-probabilities"):
        score_at(server.url, "the", " sky is")


@dataclass
class Scripted(ScriptedModel):
    """A scripted model that tells likelihoods: minus the length, unless told to fail."""

    fails: str = ""

    def score(self, prefix: str, continuation: str) -> SequenceScore:
        self.send([{"role": "user", "content": prefix + continuation}], {})
        if self.fails and self.fails in continuation:
            raise CallFailed("timeout", "too slow")
        return SequenceScore((-1.0, -float(len(continuation))), "echo")


def scorer(**more: Any) -> Scripted:
    return Scripted(lambda _: "", **more)


def test_a_second_run_asks_nothing_and_equal_texts_are_asked_once() -> None:
    store, texts = MemoryStore(), [Scored("a", " b"), Scored("a", " bc"), Scored("a", " b")]
    first_model = scorer(slots=2)
    first = score_all(Client(first_model, store=store), texts)
    assert len(first_model.sent) == 2
    assert [one and (one.logprob, one.tokens) for one in first] == [(-3.0, 2), (-4.0, 2), (-3.0, 2)]
    silent = scorer()
    second = score_all(Client(silent, store=store), texts)
    assert silent.sent == []
    assert [one and one.logprob for one in second] == [-3.0, -4.0, -3.0]
    assert (likelihood_usage(second).calls, likelihood_usage(second).cached) == (0, 2)
    record = store.records[first[0].key] if first[0] else None
    assert record is not None
    assert (record.purpose, record.model, record.prompt) == (
        "likelihood",
        "scripted",
        "[prefix]\na\n\n[continuation]\n b",
    )


def test_what_is_scored_is_in_the_key() -> None:
    store = MemoryStore()
    for model, text in (("x", Scored("a", " b")), ("y", Scored("a", " b")), ("x", Scored("a b", " b"))):
        score_all(Client(scorer(model=model), store=store), [text])
    assert len(store.records) == 3


def test_a_text_without_a_score_is_none_and_asked_again() -> None:
    store = MemoryStore()
    found = score_all(Client(scorer(fails="c"), store=store), [Scored("a", " b"), Scored("a", " c")])
    assert [one is None for one in found] == [False, True]
    assert likelihood_usage(found).failures == {"no_likelihood": 1}
    again = score_all(Client(scorer(), store=store), [Scored("a", " c")])
    assert again[0] is not None
    assert not again[0].cached


def test_a_server_that_no_longer_answers_stops_the_run() -> None:
    with pytest.raises(ServerError, match="stopped answering"):
        score_all(Client(scorer(fails=" ")), [Scored("a", f" {i}") for i in range(20)])


def test_a_backend_without_likelihoods_is_named() -> None:
    with pytest.raises(InputError, match="ScriptedModel gives no likelihoods"):
        score_all(Client(ScriptedModel([])), [Scored("a", " b")])
    with pytest.raises(InputError, match="needs a prefix"):
        Scored("", "b")


TRUE, ODD = Scored("The capital of France is", " Paris."), Scored("The capital of France is", " purple.")
SPLIT = Scored("改变价格会", "改变销量。")
"""In the smallest model's tokens most of these characters are three pieces."""


@pytest.mark.model
@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
def test_the_embedded_model_tells_by_either_route_and_the_same_again() -> None:
    from whyrank.agents.sequence_scores import ServerScorer

    with open_backend(LlmConfig()) as backend:
        client = Client(backend)
        true, odd, split = score_all(client, [TRUE, ODD, SPLIT])
        again = score_all(Client(backend), [TRUE, ODD, SPLIT])
        stepping = ServerScorer(
            lambda path, body: backend.post(path, body).result()[0],
            base_url=backend.endpoint.base_url,
            model=backend.model,
            routes=("steps",),
        ).score(TRUE.prefix, TRUE.continuation)
    assert true is not None
    assert odd is not None
    assert split is not None
    assert true.logprob > odd.logprob + 1.0
    assert true.tokens == 2
    assert split.tokens == 9
    assert math.isfinite(split.logprob)
    assert [one and one.logprob for one in again] == [true.logprob, odd.logprob, split.logprob]
    # read in one go or from the cache, quantised sums differ a little
    assert sum(stepping.logprobs) == pytest.approx(true.logprob, abs=0.3)
