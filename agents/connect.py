"""From the study's `[llm]` section to a client that is ready to be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from whyrank.agents.backend import OpenAIBackend
from whyrank.agents.calls import CallStore
from whyrank.agents.client import Client
from whyrank.agents.endpoint import Endpoint, check_address, key_from_environment
from whyrank.agents.serving import embedded_server
from whyrank.config import LlmConfig
from whyrank.prompts import Language

__all__ = ["open_backend", "open_client"]


@contextmanager
def open_backend(llm: LlmConfig) -> Iterator[OpenAIBackend]:
    """Connect to the study's model server, starting the embedded one if that is what it says.

    Raises
    ------
    RemoteRefused
        If the address is off this machine and the study doesn't allow that.
    ServerError
        If the server can't be reached or started.
    MissingExtra
        If the embedded server isn't installed.
    """
    if llm.base_url == "embedded":
        with embedded_server(llm.model) as endpoint, closing(OpenAIBackend(endpoint)) as backend:
            yield backend
        return
    base_url, remote = check_address(llm.base_url, allow_remote=llm.allow_remote)
    endpoint = Endpoint(
        base_url=base_url,
        model=llm.model,
        slots=llm.max_concurrency,
        remote=remote,
        api_key=key_from_environment(),
    )
    with closing(OpenAIBackend(endpoint)) as backend:
        yield backend


@contextmanager
def open_client(
    llm: LlmConfig, *, store: CallStore | None = None, seed: int = 0, language: Language = "en"
) -> Iterator[Client]:
    """Connect a client to the study's model server for the duration of a `with` block; see `open_backend`."""
    with open_backend(llm) as backend:
        yield Client(backend, store=store, seed=seed, language=language)
