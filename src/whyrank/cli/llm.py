"""`whyrank llm`: the model server."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whyrank.cli.output import plain, print_rich, write_json
from whyrank.errors import ServerError

if TYPE_CHECKING:
    from whyrank.agents.endpoint import Endpoint
    from whyrank.agents.probe import ProbeResult

__all__ = ["llm"]

_LONGEST_REASON = 160


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
    """Serve MODEL on 127.0.0.1 with the OpenAI protocol, until Ctrl-C or SIGTERM.

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

    with _ended_by_sigterm():
        if engine == "vllm":
            serve_vllm_forever(model, port=port, slots=slots, context=context or 4096, log=log, ready=ready)
        else:
            serve_forever(model, port=port, slots=slots, context=context or 3072, log=log, ready=ready)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """For a service manager's SIGTERM to be as good as Ctrl-C."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@llm.command()
@click.argument("study", required=False, type=click.Path(path_type=Path), metavar="[STUDY]")
@click.option(
    "--base-url", metavar="URL", help="The server to probe, or embedded. [default: the study's, else embedded]"
)
@click.option("--model", metavar="NAME", help="The model to ask. [default: the study's, else the first listed]")
@click.option("--allow-remote", is_flag=True, help="Allow an address off this machine.")
@click.option("--no-speed", is_flag=True, help="Don't measure how fast it is: some dozens of requests fewer.")
@click.option(
    "--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to tell."
)
def check(
    study: Path | None,
    base_url: str | None,
    model: str | None,
    allow_remote: bool,
    no_speed: bool,
    format_: str,
) -> None:
    """Probe a model server: what it can do, what it costs that it can't do the rest, and how fast it is.

    Probes the server that STUDY names under [llm], or the one at --base-url. Exits 1 if it can't be used: it doesn't
    answer, or doesn't keep to the schema of an answer.
    """
    from whyrank.agents.connect import open_backend
    from whyrank.agents.probe import probe
    from whyrank.agents.waiting import waiting
    from whyrank.config import LlmConfig, load_config

    loaded = load_config(study) if study is not None else None
    config = loaded.llm if loaded is not None else LlmConfig()
    given = {"base_url": base_url, "model": model, "allow_remote": allow_remote or None}
    config = config.model_copy(update={name: value for name, value in given.items() if value is not None})
    language = loaded.study.language if loaded is not None else "en"
    with open_backend(config) as backend, waiting(f"Probing {plain(backend.model)}") as note:
        found = probe(backend, language=language, speed=not no_speed, note=note)
    if format_ == "json":
        write_json(_as_json(found))
    else:
        _show(found, embedded=config.base_url == "embedded")
    if not found.usable:
        ability = "schema" if found.chat else "chat"
        raise ServerError(
            f"{plain(found.model)!r} can't be used: {plain(found.details.get(ability, 'it gave no answer'))}. "
            "Use a server that answers and enforces schemas, such as vLLM or llama.cpp (see docs/serving.md)"
        )


def _show(found: ProbeResult, *, embedded: bool) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from whyrank.agents.probe import COSTS

    click.echo(f"server  {'embedded' if embedded else found.base_url}")
    click.echo(f"model   {plain(found.model)}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("ability", "found", "what it costs that it is missing"):
        table.add_column(title, overflow="fold")
    for ability, cost in COSTS.items():
        there = bool(getattr(found, ability))
        why = f" ({_brief(found.details[ability])})" if ability in found.details else ""
        table.add_row(ability, "yes" if there else "no", Text("" if there else cost + why))
    print_rich(table)
    speed = found.speed
    if speed is not None:
        tokens = f"{speed.tokens_per_second:.1f} tokens a second in one request; " if speed.tokens_per_second else ""
        many = f", {speed.together:.1f} with {speed.in_flight} in flight" if speed.in_flight > 1 else ""
        click.echo(f"speed   {tokens}{speed.alone:.1f} short requests a second one after the other{many}")


def _brief(text: str) -> str:
    line = plain(text)
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"


def _as_json(found: ProbeResult) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(found) | {"usable": found.usable, "missing": found.missing}
