"""The embedded model server: a child process on this machine that speaks the OpenAI protocol."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from whyrank.agents.endpoint import Endpoint
from whyrank.errors import InputError, MissingExtra, ServerError
from whyrank.fetch import SMOLLM2, fetch

__all__ = [
    "CALM",
    "child_process",
    "embedded_server",
    "give_order",
    "log_file",
    "log_tail",
    "model_file",
    "pipe_of",
    "serve_forever",
    "usable_cores",
]

_CHILD = Path(__file__).with_name("embedded_child.py")
_LONGEST_START = 300.0
_LONGEST_STOP = 6.0
CALM = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
"""Threads that wait sleep: spinning ones make the server crawl as soon as another program wants a core."""


def model_file(model: str = "auto") -> Path:
    """Return the GGUF file to serve: SmolLM2-135M-Instruct for "auto" (fetched once), else the file named.

    Raises
    ------
    InputError
        If the name is not a `.gguf` file that exists.
    FetchError
        If the default model can't be fetched.
    """
    if model == "auto":
        return fetch(SMOLLM2)
    path = Path(model).expanduser()
    if path.suffix != ".gguf" or not path.is_file():
        raise InputError(
            f"embedded model {model!r} is not a .gguf file; give the path of one, or 'auto' for SmolLM2-135M-Instruct"
        )
    return path.resolve()


@contextmanager
def embedded_server(
    model: str = "auto",
    *,
    slots: int = 1,
    context: int = 3072,
    log: Path | None = None,
) -> Iterator[Endpoint]:
    """Run the embedded server for the duration of a `with` block, on 127.0.0.1 and a free port, behind its own key.

    Parameters
    ----------
    model
        "auto", or the path of a GGUF file.
    slots
        Requests worked on at the same time. With one, a reply depends on its request alone; with more, on what else is
        being worked on too, since sums are taken in another order, and a tie may fall the other way.
    context
        Tokens of prompt and answer per slot.
    log
        Where the server's log goes; by default a temporary file that is removed if all went well.

    Raises
    ------
    MissingExtra
        If xllamacpp is not installed.
    ServerError
        If the server doesn't start; the message ends with the last lines of its log.
    """
    key = secrets.token_urlsafe(24)
    with _running(model, slots=slots, context=context, log=log, port=0, key=key) as (endpoint, _):
        yield endpoint


def serve_forever(
    model: str = "auto",
    *,
    port: int = 8000,
    slots: int | None = None,
    context: int = 3072,
    log: Path | None = None,
    ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Run the embedded server in the foreground, on 127.0.0.1, until Ctrl-C.

    `ready` is called with the endpoint once it answers. If `WHYRANK_API_KEY` is set it must be sent with each request;
    else any program on this machine may ask.

    Raises
    ------
    ServerError
        If it doesn't start (the port is taken, say) or dies.
    """
    key = os.environ.get("WHYRANK_API_KEY", "")
    with (
        suppress(KeyboardInterrupt),
        _running(model, slots=slots, context=context, log=log, port=port, key=key) as (endpoint, process),
    ):
        if ready is not None:
            ready(endpoint)
        raise ServerError(f"the embedded server ended with exit status {process.wait()}")


@contextmanager
def _running(
    model: str, *, slots: int | None, context: int, log: Path | None, port: int, key: str
) -> Iterator[tuple[Endpoint, subprocess.Popen[str]]]:
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtra("the embedded model server needs xllamacpp: pip install 'whyrank[embedded]'")
    cores = usable_cores()
    slots = slots or min(max(cores, 2), 8)
    file = model_file(model)
    order: dict[str, Any] = {
        "model": str(file),
        "alias": file.name.removesuffix(".gguf"),
        "host": "127.0.0.1",
        "port": port,
        "slots": slots,
        "context": context,
        "threads": cores,
        "key": key,
        "parent": os.getpid(),
    }
    with log_file(log) as (stream, log_path), _child(stream) as process:
        address = _start(process, order, log_path)
        yield (
            Endpoint(
                base_url=f"{address}/v1",
                model=order["alias"],
                slots=slots,
                embedded=True,
                api_key=key or "none",
            ),
            process,
        )


@contextmanager
def _child(log: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """The server's process."""
    with child_process(_CHILD, log, environment=os.environ | CALM, longest_stop=_LONGEST_STOP) as process:
        yield process


@contextmanager
def child_process(
    script: Path, log: IO[bytes], *, environment: Mapping[str, str], longest_stop: float
) -> Iterator[subprocess.Popen[str]]:
    """Run a script that ends when its stdin closes, which also happens when this process dies.

    Parameters
    ----------
    script : run by this Python.
    log : takes its stderr.
    environment : its variables.
    longest_stop : seconds that it has to end before it is killed.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,  # Ctrl-C is this process's business
        env=environment,
    )
    with process:  # closes the pipes at the end
        try:
            yield process
        finally:
            with suppress(OSError):
                pipe_of(process.stdin).close()
            try:
                process.wait(longest_stop)
            except subprocess.TimeoutExpired:
                process.kill()


def _start(process: subprocess.Popen[str], order: dict[str, Any], log: Path) -> str:
    """Send the order and wait for the address, with a spinner on stderr if it takes long."""
    stdout = pipe_of(process.stdout)
    give_order(process, order)
    heard: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: heard.put(stdout.readline()), daemon=True).start()
    line = _wait(heard, order["alias"])
    said = json.loads(line) if line.strip() else {}
    if "address" not in said:
        reason = said.get("error") or f"it ended with exit status {process.wait(_LONGEST_STOP)}"
        raise ServerError(f"the embedded server did not start: {reason}{log_tail(log)}")
    return str(said["address"])


def give_order(process: subprocess.Popen[str], order: Mapping[str, Any]) -> None:
    """Write a child its order, one line of JSON."""
    stdin = pipe_of(process.stdin)
    with suppress(BrokenPipeError):  # it died at once: its answer is missing, and the log says why
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()


def pipe_of(stream: IO[str] | None) -> IO[str]:
    """Return a child's pipe, which it has."""
    if stream is None:
        raise ServerError("a server's process has no pipe")
    return stream


def _wait(heard: queue.Queue[str], name: str) -> str:
    from rich.console import Console

    with suppress(queue.Empty):
        return heard.get(timeout=1.5)
    with Console(stderr=True).status(f"Loading {name}"), suppress(queue.Empty):
        return heard.get(timeout=_LONGEST_START)
    raise ServerError(f"the embedded server did not start within {_LONGEST_START:.0f} s")


@contextmanager
def log_file(log: Path | None) -> Iterator[tuple[IO[bytes], Path]]:
    """The log's stream and path; a temporary log is removed unless something went wrong."""
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            yield stream, log
        return
    with tempfile.NamedTemporaryFile(prefix="whyrank-server-", suffix=".log", delete=False) as stream:
        path = Path(stream.name)
        try:
            yield stream.file, path
        except ServerError:
            raise
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)


def log_tail(log: Path, lines: int = 5) -> str:
    """Return the last lines of a log and its place, to be put behind an error message."""
    text = log.read_text(errors="replace").splitlines()[-lines:]
    return "".join(f"\n  {line}" for line in text) + f"\n  (log: {log})"


def usable_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
