"""The wire: one request to a model, one reply, nothing interpreted."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from whyrank.agents.background import Background
from whyrank.agents.endpoint import Endpoint
from whyrank.agents.flow import CallFailed, Flow, Patience, TransportFailure
from whyrank.errors import ServerError

if TYPE_CHECKING:
    import httpx
    from openai import APIStatusError, AsyncOpenAI

    from whyrank.agents.sequence_scores import SequenceScore, ServerScorer

__all__ = [
    "AsyncBackend",
    "Backend",
    "CallFailed",
    "Message",
    "OpenAIBackend",
    "Reply",
    "TransportFailure",
    "read_completion",
    "request_body",
]

Message = Mapping[str, str]
"""A chat message: `role` and `content`."""

T = TypeVar("T")

_LARGEST_REPLY = 4 * 2**20
_LONGEST_SAID = 300
_OUTAGE, _OUTAGE_OF_OWN_SERVER = 120.0, 5.0
"""Seconds without a reply after which a server is given up; the embedded one doesn't come back."""


_LOGGERS = (
    "openai._base_client",
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
)
"""Those of the libraries that see a request or a reply."""


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes
    ----------
    content, reasoning : the two places where servers put text.
    finish : "stop", "length", "content_filter", ... as the server says.
    raw : the whole reply as JSON.
    retried : kinds of the failures after which the request was sent again.
    """

    content: str
    reasoning: str = ""
    finish: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    raw: str = ""
    retried: tuple[str, ...] = ()


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


@runtime_checkable
class AsyncBackend(Backend, Protocol):
    """A backend that takes a request without waiting for its reply."""

    def submit(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Future[Reply]:
        """Ask once, as `send` does; cancelling the future takes the request back."""

    @property
    def flow(self) -> Flow:
        """How fast the server is asked at the moment."""


class OpenAIBackend:
    """A server that speaks the OpenAI protocol, over one shared connection pool.

    Requests without a reply are sent again (see `Flow`): as often as `retries` says after a server error, a broken
    connection or what is no chat completion, once more after a timeout, and while the server says that it is busy (429,
    503; it is then asked less at a time and after the pause it wants) or is gone for a while, until it has given no
    reply for `outage` seconds. Proxies in the environment are used for addresses off this machine only; redirects are
    never followed; replies of more than 4 MiB are not read.

    Parameters
    ----------
    endpoint
        A checked address (see `check_address`).
    timeout
        Seconds after which a request is given up.
    retries
        Further tries of a request that got no reply.
    outage
        Seconds without any reply after which the server is given up; by default 120, and 5 for the embedded server.
    """

    def __init__(
        self, endpoint: Endpoint, *, timeout: float = 300.0, retries: int = 3, outage: float | None = None
    ) -> None:
        _switch_tracing_off()
        self.endpoint = endpoint
        if outage is None:
            outage = _OUTAGE_OF_OWN_SERVER if endpoint.embedded else _OUTAGE
        self._timeout = timeout
        self._flow = Flow(endpoint.slots, Patience(retries=retries, outage=outage))
        self._background = Background()
        self._client = _openai_client(endpoint, timeout)
        self._struck_out = _WithoutKey(endpoint.api_key)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._struck_out)
        self._scorer: ServerScorer | None = None
        try:
            self._model = endpoint.model if endpoint.model != "auto" else self._first_model()
        except BaseException:
            self.close()
            raise

    @property
    def model(self) -> str:
        """The model's name; "auto" is resolved."""
        return self._model

    @property
    def slots(self) -> int:
        """How many requests to have in flight."""
        return self.endpoint.slots

    @property
    def flow(self) -> Flow:
        """How fast the server is asked at the moment."""
        return self._flow

    def close(self) -> None:
        """Take back what is under way and close the connections."""
        self._background.run(self._client.close())
        self._background.close()
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._struck_out)

    def models(self) -> list[str]:
        """Names of the models that the server lists.

        Raises
        ------
        ServerError
            If it lists none, or can't be reached.
        """

        async def listed() -> list[str]:
            return [entry.id for entry in (await self._client.models.list()).data]

        return self._asked(listed)

    def send(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Reply:
        """Ask once, with the patience of the transport.

        Raises
        ------
        CallFailed
            If there was no reply.
        ServerError
            If no request can succeed: wrong key, no such model or address, or a server that was given up.
        """
        return self._background.run(self._complete(messages, params))

    def submit(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Future[Reply]:
        """Ask once and don't wait; the future's errors are those of `send`."""
        return self._background.submit(self._complete(messages, params))

    def post(self, path: str, body: Mapping[str, Any]) -> Future[tuple[Any, tuple[str, ...]]]:
        """Send any JSON to `path` below the address, with the same patience; the future gives the JSON that came back.

        Beside it stand the kinds of the failures after which the request was sent again.
        """
        return self._background.submit(self._flow.patiently(lambda: self._parsed(path, body)))

    def score(self, prefix: str, continuation: str) -> SequenceScore:
        """Log-probabilities of the tokens of `continuation` after `prefix`; called from several threads.

        Raises
        ------
        CallFailed
            Of kind "rejected" if the server can't tell, else of the transport's kinds.
        ServerError
            If no request can succeed.
        """
        from whyrank.agents.sequence_scores import ServerScorer

        if self._scorer is None:
            self._scorer = ServerScorer(
                lambda path, body: self.post(path, body).result()[0],
                base_url=self.endpoint.base_url,
                model=self._model,
                routes=("grammar", "steps") if self.endpoint.embedded else ("echo", "grammar", "steps"),
            )
        return self._scorer.score(prefix, continuation)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embeddings of `texts`, from the server's embedding endpoint.

        Raises
        ------
        ServerError
            If the server has none.
        """

        async def embedded() -> list[list[float]]:
            reply = await self._client.embeddings.create(model=self._model, input=list(texts), encoding_format="float")
            return [list(entry.embedding) for entry in reply.data]

        return self._asked(embedded)

    def _asked(self, request: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask the server for something beside its completions, once."""
        import openai

        try:
            return self._background.run(request())
        except (openai.OpenAIError, TypeError, AttributeError, ValueError) as error:
            said = self._presentable(str(error))
            raise ServerError(
                f"{self.endpoint.base_url} does not answer like an OpenAI-compatible server: {said}"
            ) from None

    def _first_model(self) -> str:
        names = self.models()
        if not names:
            raise ServerError(f"{self.endpoint.base_url} lists no model: name one as `model` under [llm]")
        return names[0]

    async def _complete(self, messages: Sequence[Message], params: Mapping[str, Any]) -> Reply:
        body = request_body(self._model, messages, params)

        async def once() -> Reply:
            started = time.monotonic()
            text = await self._text("/chat/completions", body)
            try:
                return read_completion(text, time.monotonic() - started)
            except ValueError as error:
                raise self._no_completion(error) from None

        reply, retried = await self._flow.patiently(once)
        return replace(reply, retried=retried) if retried else reply

    async def _parsed(self, path: str, body: Mapping[str, Any]) -> Any:
        text = await self._text(path, body)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._no_completion(error) from None

    async def _text(self, path: str, body: Mapping[str, Any]) -> str:
        """The text of one reply, or the kind of failure; keys that a server echoes are struck out."""
        import httpx
        import openai

        try:
            async with asyncio.timeout(self._timeout):
                response: httpx.Response = await self._client.post(path, cast_to=httpx.Response, body=dict(body))
            return self._without_key(response.content.decode("utf-8", errors="replace"))
        except (TimeoutError, openai.APITimeoutError) as error:
            if isinstance(error.__cause__, httpx.ConnectTimeout):
                raise CallFailed("unreachable", f"{self.endpoint.base_url} can't be reached in time") from None
            raise CallFailed("timeout", f"no reply from {self.endpoint.base_url} in time") from None
        except _Oversized as error:
            raise CallFailed("too_large", f"{self.endpoint.base_url} sent {error}") from None
        except (openai.APIConnectionError, httpx.HTTPError) as error:
            raise self._connection_error(error.__cause__ or error) from None
        except openai.APIStatusError as error:
            raise self._status_error(error) from None

    def _connection_error(self, cause: BaseException) -> CallFailed:
        import httpx

        address, said = self.endpoint.base_url, self._presentable(f"{type(cause).__name__}: {cause}")
        if isinstance(cause, httpx.ConnectError | httpx.UnsupportedProtocol | httpx.ProxyError):
            return CallFailed("unreachable", f"{address} can't be reached ({said})")
        return CallFailed("broken", f"the reply from {address} broke off ({said})")

    def _status_error(self, error: APIStatusError) -> CallFailed | ServerError:
        status = error.status_code
        said = self._presentable(str(error))
        if status == 429 and getattr(error, "code", None) == "insufficient_quota":
            return ServerError(f"{self.endpoint.base_url} refuses every request: {said}")
        if status in (429, 503, 529):
            return CallFailed("overloaded", said, retry_after=_retry_after(error.response.headers))
        if status >= 500 or status in (408, 409):
            return CallFailed("server_error", said)
        if status in (400, 413, 422):
            return CallFailed("rejected", said)
        hint = " (keys are read from WHYRANK_API_KEY or OPENAI_API_KEY)" if status in (401, 403) else ""
        return ServerError(f"{self.endpoint.base_url} refuses every request with status {status}: {said}{hint}")

    def _no_completion(self, error: Exception) -> CallFailed:
        said = self._presentable(str(error))
        return CallFailed("not_a_completion", f"{self.endpoint.base_url} sent no chat completion ({said})")

    def _presentable(self, text: str) -> str:
        """What a server said, as one line of bearable length, without the key."""
        line = " ".join("".join(c if c.isprintable() else " " for c in self._without_key(text)).split())
        return line if len(line) <= _LONGEST_SAID else line[: _LONGEST_SAID - 1] + "…"

    def _without_key(self, text: str) -> str:
        return _without(self.endpoint.api_key, text)


def request_body(model: str, messages: Sequence[Message], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a chat completion request; files for `vllm run-batch` hold the same."""
    body: dict[str, Any] = {"model": model, "messages": [dict(message) for message in messages]}
    names = ("temperature", "max_tokens", "seed", "logprobs")
    body |= {name: params[name] for name in names if params.get(name) is not None}
    if params.get("schema") is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": params["schema"]},
        }
    return body


def read_completion(text: str, seconds: float = 0.0) -> Reply:
    """Read the JSON of a chat completion.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        completion = json.loads(text)
        choice = completion["choices"][0]
        message = choice.get("message") or {}
        usage = completion.get("usage") or {}
        return Reply(
            content=_text(message.get("content")) or _text(message.get("refusal")),
            reasoning=_text(message.get("reasoning_content")) or _text(message.get("reasoning")),
            finish=_text(choice.get("finish_reason")),
            tokens_in=_whole(usage.get("prompt_tokens")),
            tokens_out=_whole(usage.get("completion_tokens")),
            seconds=seconds,
            raw=_storable(json.dumps(completion, ensure_ascii=False)),
        )
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _text(value: object) -> str:
    """The text of a message's field; some servers send it in parts."""
    if isinstance(value, list):
        value = "".join(part.get("text") or "" for part in value if isinstance(part, dict))
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a text was expected, got {type(value).__name__}")
    return _storable(value or "")


def _whole(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _storable(text: str) -> str:
    """Text without halves of surrogate pairs, which no database takes."""
    return text.encode(errors="replace").decode()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks for, in either of the two ways of saying so."""
    said = headers.get("retry-after", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):  # nothing said, or nonsense; or a date without a zone
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)


def _openai_client(endpoint: Endpoint, timeout: float) -> AsyncOpenAI:
    import httpx
    import openai

    http = httpx.AsyncClient(
        timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
        trust_env=endpoint.remote,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=endpoint.slots),
        event_hooks={"response": [_bound]},
    )
    client: Any = http  # the openai library takes one of httpx or httpx2, and names only one of them in its types
    return openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key, http_client=client, max_retries=0)


class _WithoutKey(logging.Filter):
    """Strikes the key out of what libraries log, such as headers that a server sends back."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        struck = _without(self._key, said)
        if struck != said:
            record.msg, record.args = struck, ()
        return True


def _without(key: str, text: str) -> str:
    return text.replace(key, "***") if key != "none" else text


class _Oversized(Exception):
    """A reply that isn't worth its memory."""


async def _bound(response: httpx.Response) -> None:
    """Read no more of a reply than is reasonable; a packed one could unfold to anything."""
    packed = response.headers.get("content-encoding", "identity").lower()
    if packed not in ("", "identity"):
        await response.aclose()
        raise _Oversized(f"a reply packed with {packed[:20]!r}, which was not asked for")
    response.stream = _bounded_stream(response.stream)


def _bounded_stream(stream: Any) -> Any:
    import httpx

    class Bounded(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in stream:
                size += len(chunk)
                if size > _LARGEST_REPLY:
                    raise _Oversized(f"more than {_LARGEST_REPLY // 2**20} MiB")
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


def _switch_tracing_off() -> None:
    """Nothing but the model's server hears of a prompt, whatever the environment says."""
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        os.environ[name] = "false"
    for name in ("openai", "httpx", "httpcore"):  # at debug level they log whole prompts
        logging.getLogger(name).setLevel(max(logging.getLogger(name).level, logging.WARNING))
