"""The log-probability of a given text under a model, from servers that tell it in different ways.

vLLM and others echo the prompt with the log-probability of each of its tokens. llama.cpp's server tells
log-probabilities of what it generates only, so it is made to generate the given tokens: by a grammar of token numbers
in one request, or, where the server knows no such grammars, one token a request, pushed by a bias. What it tells is the
model's own probability, before grammar, bias and sampling.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from whyrank.agents.backend import CallFailed
from whyrank.errors import ServerError

__all__ = ["ROUTES", "Post", "Route", "ScoringBackend", "SequenceScore", "ServerScorer"]

Route = Literal["echo", "grammar", "steps"]
"""How a server can be made to tell: the prompt echoed, the tokens forced by a grammar, or one by one by a bias."""

ROUTES: tuple[Route, ...] = ("echo", "grammar", "steps")

_BIAS = 1e4
_LISTED = (256, 4096, 16384)
"""How many of the likeliest tokens are asked for, one after the other."""

_ROUNDING = 1e-6
_OTHERWISE_LOST = ("timeout", "unreachable", "overloaded", "server_error", "broken")
"""Failures that say nothing about a route."""


@dataclass(frozen=True)
class SequenceScore:
    """Log-probabilities (nats) of the tokens of a continuation, each given all that stands before it."""

    logprobs: tuple[float, ...]
    route: Route

    @property
    def raw(self) -> str:
        """The score as JSON."""
        return json.dumps({"logprobs": self.logprobs, "route": self.route})


class Post(Protocol):
    """Posts JSON to a path below the server's address, or to a whole address, and returns the JSON that came back."""

    def __call__(self, path: str, body: Mapping[str, Any]) -> Any:
        """Post; raises CallFailed or ServerError."""


@runtime_checkable
class ScoringBackend(Protocol):
    """A backend that can tell how likely a text is."""

    def score(self, prefix: str, continuation: str) -> SequenceScore:
        """Log-probabilities of the tokens of `continuation` after `prefix`."""


class ServerScorer:
    """Finds out by which route a server tells log-probabilities of given texts, and keeps to it.

    A text is tokenised as a whole; the continuation begins at the first token that the prefix alone doesn't have.

    Parameters
    ----------
    post
        How to reach the server.
    base_url
        Its address, which ends in `/v1`; llama.cpp's own paths lie beside that.
    model
        The model's name there.
    routes
        Tried in this order until one works.
    """

    def __init__(self, post: Post, *, base_url: str, model: str, routes: Sequence[Route] = ROUTES) -> None:
        self._post = post
        self._root = base_url.rstrip("/").removesuffix("/v1")
        self._model = model
        self._routes = tuple(routes)
        self._known: Route | None = None
        self._refused = ""

    def score(self, prefix: str, continuation: str) -> SequenceScore:
        """Return the log-probabilities of the tokens of `continuation` after `prefix`.

        Raises
        ------
        CallFailed
            Of kind "rejected" if the server can't tell, else of the transport's kinds.
        ServerError
            If no request can succeed.
        """
        if self._refused:
            raise CallFailed("rejected", self._refused)
        if self._known is not None:
            return self._score(prefix, continuation, self._known)
        problems: list[str] = []
        gone: ServerError | None = None
        for route in self._routes:
            try:
                found = self._score(prefix, continuation, route)
            except ServerError as error:  # "no such path", for one
                gone = error
            except CallFailed as failed:
                if failed.kind in _OTHERWISE_LOST:
                    raise
                problems.append(f"{route}: {failed}")
            else:
                self._known = route
                return found
        if gone is not None and not problems:
            raise gone
        self._refused = "the server tells no log-probabilities of given texts (" + "; ".join(problems) + ")"
        raise CallFailed("rejected", self._refused)

    def _score(self, prefix: str, continuation: str, route: Route) -> SequenceScore:
        try:
            if route == "echo":
                found = self._by_echo(prefix, continuation)
            else:
                found = self._by_forcing(prefix, continuation, route)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise CallFailed("rejected", f"the reply holds no log-probabilities of the text ({error})") from error
        if not found or not all(math.isfinite(x) and x <= _ROUNDING for x in found):
            raise CallFailed("rejected", f"{found!r} are no log-probabilities")
        return SequenceScore(tuple(found), route)

    def _by_echo(self, prefix: str, continuation: str) -> list[float]:
        whole = prefix + continuation
        tokens, logprobs = self._echoed(whole)
        start = _place(tokens, prefix, whole)
        if start is None:  # pieces of characters are shown as replacement characters: compare tokens instead
            start = _shared(tokens, self._echoed(prefix)[0])
        return [float(x) for x in logprobs[max(start, 1) :]]

    def _echoed(self, text: str) -> tuple[list[str], list[Any]]:
        """Tokens of the prompt and their log-probabilities, without the one that had to be generated."""
        body = {"model": self._model, "prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0.0}
        reply = self._post("/completions", body)
        told = reply["choices"][0]["logprobs"]
        generated = int(reply["usage"]["completion_tokens"])
        tokens, logprobs = list(told["tokens"]), list(told["token_logprobs"])
        count = len(tokens) - generated
        if count < 1 or count != int(reply["usage"]["prompt_tokens"]):
            raise LookupError(f"it echoed {count} of {reply['usage']['prompt_tokens']} tokens of the prompt")
        return tokens[:count], logprobs[:count]

    def _by_forcing(self, prefix: str, continuation: str, route: Route) -> list[float]:
        tokens = self._tokens(prefix + continuation)
        start = max(_shared(tokens, self._tokens(prefix)), 1)
        before, wanted = tokens[:start], tokens[start:]
        if route == "grammar" and all(token.whole for token in wanted):
            grammar = "root ::= " + " ".join(f"<[{token.id}]>" for token in wanted)
            steps = self._generated(before, len(wanted), n_probs=1, grammar=grammar, cache_prompt=False)
            return _logprobs(steps, wanted)
        return [self._step(tokens[:end], tokens[end]) for end in range(start, len(tokens))]

    def _step(self, before: Sequence[_Token], wanted: _Token) -> float:
        """Log-probability of one token: generated under a bias, or, if it is part of a character, read from a list.

        The server tells nothing about a generated token that doesn't end a character; so another one is generated, and
        the wanted one looked up among the likeliest, of which more and more are asked for.
        """
        if wanted.whole:
            steps = self._generated(before, 1, n_probs=1, logit_bias=[[wanted.id, _BIAS]])
            return _logprobs(steps, [wanted])[0]
        dot = self._tokens(".")[-1]
        for most in _LISTED:
            (step,) = self._generated(before, 1, n_probs=most, logit_bias=[[dot.id, _BIAS]])
            for entry in step["top_logprobs"]:
                if int(entry["id"]) == wanted.id:
                    return float(entry["logprob"])
        raise LookupError(f"token {wanted.id} is not among the {_LISTED[-1]} likeliest")

    def _tokens(self, text: str) -> list[_Token]:
        body = {"content": text, "add_special": True, "with_pieces": True}
        found = self._post(f"{self._root}/tokenize", body)["tokens"]
        return [_Token(int(entry["id"]), isinstance(entry["piece"], str)) for entry in found]

    def _generated(self, before: Sequence[_Token], count: int, **how: Any) -> list[Mapping[str, Any]]:
        body = {"prompt": [token.id for token in before], "n_predict": count, "temperature": 0.0, "stream": False}
        return list(self._post(f"{self._root}/completion", body | how)["completion_probabilities"])


@dataclass(frozen=True)
class _Token:
    """A token's number, and whether it is made of whole characters."""

    id: int
    whole: bool


def _logprobs(steps: Sequence[Mapping[str, Any]], wanted: Sequence[_Token]) -> list[float]:
    """Log-probabilities of tokens that the server was made to generate; it must have generated just them."""
    generated = [int(step["id"]) for step in steps]
    if generated != [token.id for token in wanted]:
        raise LookupError(f"the tokens {[token.id for token in wanted]} were asked for and {generated} came")
    return [float(step["logprob"]) for step in steps]


def _place(tokens: Sequence[str], prefix: str, whole: str) -> int | None:
    """Index of the first token that reaches past the prefix, or None if the tokens don't add up to the text."""
    joined = "".join(tokens)
    if not joined.endswith(whole):
        return None
    end = len(joined) - len(whole) + len(prefix)
    reached = 0
    for index, token in enumerate(tokens):
        reached += len(token)
        if reached > end:
            return index
    return None


def _shared(one: Sequence[object], other: Sequence[object]) -> int:
    """How many tokens two texts begin with in common."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
