"""`whyrank llm`: the model server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whyrank.cli.output import plain

if TYPE_CHECKING:
    from whyrank.agents.backend import OpenAIBackend
    from whyrank.agents.endpoint import Endpoint

__all__ = ["llm"]


@click.group()
def llm() -> None:
    """Start a model server on this machine, or probe one."""


@llm.command()
@click.argument("model", default="auto", metavar="[MODEL]")
@click.option(
    "--engine",
    type=click.Choice(["embedded", "vllm"]),
    default="embedded",
    show_default=True,
    help="vllm is installed into an environment of its own on first use.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port on 127.0.0.1.")
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    help="Requests at the same time. [default: embedded one per core, 2 to 8; vllm 32 on the CPU, 256 on a GPU]",
)
@click.option("--context", type=click.IntRange(min=256), help="Tokens per request. [default: 3072; vllm 4096]")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where its log goes.")
def serve(model: str, engine: str, port: int, slots: int | None, context: int | None, log: Path | None) -> None:
    """Serve MODEL on 127.0.0.1 with the OpenAI protocol, until Ctrl-C.

    MODEL is the path of a .gguf file; without it, SmolLM2-135M-Instruct is served. With --engine vllm it may also be a
    folder of weights or a name on a model hub. If WHYRANK_API_KEY is set, each request must send it.
    """
    from whyrank.agents.serving import serve_forever
    from whyrank.agents.vllm_engine import serve_vllm_forever

    def ready(endpoint: Endpoint) -> None:
        click.echo(endpoint.base_url)
        click.echo(
            f"serving {endpoint.model}; put base_url = {endpoint.base_url!r} under [llm]; Ctrl-C stops", err=True
        )

    if engine == "vllm":
        serve_vllm_forever(model, port=port, slots=slots, context=context or 4096, log=log, ready=ready)
    else:
        serve_forever(model, port=port, slots=slots, context=context or 3072, log=log, ready=ready)


@llm.command()
@click.argument("study", required=False, type=click.Path(path_type=Path), metavar="[STUDY]")
@click.option(
    "--base-url", metavar="URL", help="The server to probe, or embedded. [default: the study's, else embedded]"
)
@click.option("--model", metavar="NAME", help="The model to ask. [default: the study's, else the first listed]")
@click.option("--allow-remote", is_flag=True, help="Allow an address off this machine.")
def check(study: Path | None, base_url: str | None, model: str | None, allow_remote: bool) -> None:
    """Probe a model server: does it answer, and does it keep to a schema?

    Probes the server that STUDY names under [llm], or the one at --base-url. Exits 1 if it can't be used.
    """
    from whyrank.agents.connect import open_backend
    from whyrank.config import LlmConfig, load_config

    config = load_config(study).llm if study is not None else LlmConfig()
    given = {"base_url": base_url, "model": model, "allow_remote": allow_remote or None}
    config = config.model_copy(update={name: value for name, value in given.items() if value is not None})
    with open_backend(config) as backend:
        _probe(backend)


def _probe(backend: OpenAIBackend) -> None:
    """Ask for one word under a schema that allows only another: who answers with the other keeps to schemas."""
    from whyrank.errors import ServerError

    word = "violet"
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": [word], "type": "string"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    click.echo(f"server  {'embedded' if backend.endpoint.embedded else backend.endpoint.base_url}")
    click.echo(f"model   {plain(backend.model)}")
    reply = backend.send(
        [{"role": "user", "content": "yes or no?"}],
        {"temperature": 0.0, "max_tokens": 64, "seed": 0, "schema": schema},
    )
    click.echo(f"answer  {reply.tokens_out} tokens in {reply.seconds:.1f} s")
    try:
        kept = json.loads(reply.content) == {"answer": word}
    except ValueError:
        kept = False
    click.echo(f"schema  {'kept' if kept else 'ignored'}")
    if not kept:
        raise ServerError(
            f"{backend.model!r} ignores response_format json_schema: it answered {plain(reply.content[:80])!r}. "
            "Proposals would be guesses at a format; use a server that enforces schemas (vLLM, llama.cpp)"
        )
