"""`whyrank llm`: the model server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from whyrank.agents.endpoint import Endpoint

__all__ = ["llm"]


@click.group()
def llm() -> None:
    """Start a model server on this machine, or probe one."""


@llm.command()
@click.argument("model", default="auto", metavar="[MODEL]")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port on 127.0.0.1.")
@click.option("--slots", type=click.IntRange(min=1), help="Requests at the same time. [default: one per core, 2 to 8]")
@click.option("--context", type=click.IntRange(min=256), default=3072, show_default=True, help="Tokens per request.")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where its log goes.")
def serve(model: str, port: int, slots: int | None, context: int, log: Path | None) -> None:
    """Serve MODEL on 127.0.0.1 with the OpenAI protocol, until Ctrl-C.

    MODEL is the path of a .gguf file; without it, SmolLM2-135M-Instruct is served. If WHYRANK_API_KEY is set, each
    request must send it.
    """
    from whyrank.agents.serving import serve_forever

    def ready(endpoint: Endpoint) -> None:
        click.echo(endpoint.base_url)
        click.echo(
            f"serving {endpoint.model}; put base_url = {endpoint.base_url!r} under [llm]; Ctrl-C stops", err=True
        )

    serve_forever(model, port=port, slots=slots, context=context, log=log, ready=ready)
