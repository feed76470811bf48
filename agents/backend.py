"""The wire: one request to a model, one reply, nothing interpreted."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from whyrank.agents.endpoint import Endpoint
from whyrank.errors import ServerError, WhyRankError

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI
    from openai import APIStatusError

__all__ = ["Backend", "CallFailed", "Message", "OpenAIBackend", "Reply"]

Message = Mapping[str, str]
"""A chat message: `role` and `content`."""

TransportFailure = Literal["timeout", "unreachable", "overloaded", "server_error", "rejected"]
"""How a request can end without a reply."""


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes
    ----------
    content, reasoning : the two places where servers put text.
    finish : "stop", "length", "content_filter", ... as the server says.
    raw : the whole reply as JSON.
    """

    content: str
    reasoning: str = ""
    finish: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    raw: str = ""


class CallFailed(WhyRankError):
    """One request got no reply, after the bounded number of tries; the run decides whether to go on."""

    def __init__(self, kind: TransportFailure, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Backend(Protocol):
    """Something that answers messages: a server, or a script in tests. `send` is called from several threads."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def slots(self) -> int:
        """How many requests to have in flight."""

    def send(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Reply:
        """Ask once; `params` holds temperature, max_tokens, seed and schema (a JSON schema or None)."""


class OpenAIBackend:
    """A server that speaks the OpenAI protocol, through LangChain's `ChatOpenAI`.

    Status 429 and 5xx, timeouts and refused connections are tried again a few times, with growing pauses or as
    long as the server asks for. Proxies in the environment are used for addresses off this machine only;
    redirects are never followed.

    Parameters
    ----------
    endpoint
        A checked address (see `check_address`).
    timeout
        Seconds without a byte after which a request is given up.
    retries
        Further tries of a request that got no reply.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = 300.0, retries: int = 3) -> None:
        import httpx

        _switch_tracing_off()
        self.endpoint = endpoint
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            trust_env=endpoint.remote,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=endpoint.slots),
        )
        try:
            self._chat = _chat_model(endpoint, self._http, timeout=timeout, retries=retries)
            self._model = endpoint.model if endpoint.model != "auto" else self._first_model()
        except BaseException:
            self._http.close()
            raise

    @property
    def model(self) -> str:
        """The model's name; "auto" is resolved."""
        return self._model

    @property
    def slots(self) -> int:
        """How many requests to have in flight."""
        return self.endpoint.slots

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[str]:
        """Names of the models that the server lists."""
        import openai

        try:
            return [entry.id for entry in self._chat.root_client.models.list().data]
        except (openai.APIError, TypeError) as error:
            raise ServerError(_unusable(self.endpoint, error)) from error

    def send(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Reply:
        """Ask once, with the retries of the transport.

        Raises
        ------
        CallFailed
            If there was no reply.
        ServerError
            If no request can succeed: wrong key, no such model or address.
        """
        import openai

        options: dict[str, Any] = {"model": self._model}
        options |= {name: params[name] for name in ("temperature", "seed", "logprobs") if name in params}
        if self.endpoint.remote:
            options["max_tokens"] = params["max_tokens"]
        else:  # ChatOpenAI renames max_tokens to max_completion_tokens, which some local servers ignore
            options["extra_body"] = {"max_tokens": params["max_tokens"]}
        if params.get("schema") is not None:
            options["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": params["schema"]},
            }
        started = time.monotonic()
        try:
            answer = self._chat.invoke([(m["role"], m["content"]) for m in messages], **options)
            completion: dict[str, Any] = answer.additional_kwargs["completion"]
        except openai.LengthFinishReasonError as cut:  # the library's word for a reply cut at max_tokens
            completion = cut.completion.model_dump(mode="json", exclude_unset=True, warnings=False)
        except openai.ContentFilterFinishReasonError:
            return Reply("", finish="content_filter", seconds=time.monotonic() - started)
        except openai.APITimeoutError as error:
            raise CallFailed("timeout", f"no reply from {self.endpoint.base_url} in time") from error
        except openai.APIConnectionError as error:
            raise CallFailed(
                "unreachable", f"{self.endpoint.base_url} can't be reached: {error.__cause__!r}"
            ) from error
        except openai.APIStatusError as error:
            raise self._status_error(error) from error
        except (openai.APIError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise CallFailed("server_error", f"{self.endpoint.base_url} sent no chat completion: {error}") from error
        return _reply(completion, time.monotonic() - started)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embeddings of `texts`, from the server's embedding endpoint.

        Raises
        ------
        ServerError
            If the server has none.
        """
        import openai

        try:
            reply = self._chat.root_client.embeddings.create(model=self._model, input=list(texts))
            return [list(entry.embedding) for entry in reply.data]
        except (openai.APIError, TypeError) as error:
            raise ServerError(_unusable(self.endpoint, error)) from error

    def _first_model(self) -> str:
        names = self.models()
        if not names:
            raise ServerError(f"{self.endpoint.base_url} lists no model: name one as `model` under [llm]")
        return names[0]

    def _status_error(self, error: APIStatusError) -> CallFailed | ServerError:
        status = error.status_code
        said = self._without_key(str(error))
        if status == 429:
            return CallFailed("overloaded", said)
        if status >= 500 or status in (408, 409):
            return CallFailed("server_error", said)
        if status in (400, 413, 422):
            return CallFailed("rejected", said)
        hint = " (keys are read from WHYRANK_API_KEY or OPENAI_API_KEY)" if status in (401, 403) else ""
        return ServerError(f"{self.endpoint.base_url} refuses every request with status {status}: {said}{hint}")

    def _without_key(self, text: str) -> str:
        key = self.endpoint.api_key
        return text.replace(key, "***") if key != "none" else text


def _chat_model(endpoint: Endpoint, http: Any, *, timeout: float, retries: int) -> ChatOpenAI:
    from langchain_core.outputs import ChatResult
    from langchain_openai import ChatOpenAI
    from openai import BaseModel as OpenAIModel
    from pydantic import SecretStr

    class WholeReply(ChatOpenAI):
        """`ChatOpenAI` drops `reasoning_content`; this one keeps the completion as the server sent it."""

        def _create_chat_result(
            self, response: dict[str, Any] | OpenAIModel, generation_info: dict[str, Any] | None = None
        ) -> ChatResult:
            result = super()._create_chat_result(response, generation_info)
            whole = (
                response
                if isinstance(response, dict)
                else response.model_dump(mode="json", exclude_unset=True, warnings=False)
            )
            for generation in result.generations:
                generation.message.additional_kwargs["completion"] = whole
            return result

    return WholeReply(
        model=endpoint.model,
        base_url=endpoint.base_url,
        api_key=SecretStr(endpoint.api_key),
        timeout=timeout,
        max_retries=retries,
        http_client=http,
        use_responses_api=False,
        cache=False,
        verbose=False,
    )


def _reply(completion: Mapping[str, Any], seconds: float) -> Reply:
    choice = completion["choices"][0]
    message = choice.get("message") or {}
    usage = completion.get("usage") or {}
    return Reply(
        content=_storable(message.get("content") or message.get("refusal") or ""),
        reasoning=_storable(message.get("reasoning_content") or message.get("reasoning") or ""),
        finish=choice.get("finish_reason") or "",
        tokens_in=int(usage.get("prompt_tokens") or 0),
        tokens_out=int(usage.get("completion_tokens") or 0),
        seconds=seconds,
        raw=_storable(json.dumps(completion, ensure_ascii=False)),
    )


def _storable(text: str) -> str:
    """Text without halves of surrogate pairs, which no database takes."""
    return text.encode(errors="replace").decode()


def _unusable(endpoint: Endpoint, error: Exception) -> str:
    return f"{endpoint.base_url} does not answer like an OpenAI-compatible server: {error}"


def _switch_tracing_off() -> None:
    """Nothing but the model's server hears of a prompt, whatever the environment says."""
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        os.environ[name] = "false"
    for name in ("openai", "httpx", "httpcore"):  # at debug level they log whole prompts
        logging.getLogger(name).setLevel(max(logging.getLogger(name).level, logging.WARNING))
