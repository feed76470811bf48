"""A vLLM server on this machine: started in its own environment, waited for, and ended with whoever started it."""

from __future__ import annotations

import json
import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from whyrank.agents.endpoint import Endpoint
from whyrank.agents.serving import CALM, child_process, give_order, log_file, log_tail, pipe_of, usable_cores
from whyrank.agents.vllm_environment import Device, VllmEnvironment, vllm_environment
from whyrank.agents.vllm_models import Weights, weights_of
from whyrank.agents.waiting import Note, waiting
from whyrank.errors import ServerError

__all__ = ["Serving", "serve_vllm_forever", "serving_environment", "vllm_command", "vllm_server"]

_CHILD = Path(__file__).with_name("vllm_child.py")
_LONGEST_START = 1800.0
"""Seconds: a large model is read from disk, or downloaded, before the server answers."""

_LONGEST_STOP = 15.0
_SLOTS: Mapping[Device, int] = {"cpu": 32, "cuda": 256}
"""Requests worked on at the same time, unless told otherwise."""


@dataclass(frozen=True)
class Serving:
    """How a model is served.

    Attributes
    ----------
    slots : requests worked on at the same time.
    context : tokens of prompt and answer together.
    port : on 127.0.0.1.
    key : that each request must send; "" for none.
    """

    slots: int
    context: int
    port: int
    key: str


def vllm_command(environment: VllmEnvironment, weights: Weights, serving: Serving) -> list[str]:
    """Return the command that starts the server.

    The module, not the `vllm` script: builds for the CPU go by another name, and the script looks for its own.
    """
    command = [
        str(environment.python), "-P", "-m", "vllm.entrypoints.openai.api_server",
        "--model", weights.source, "--served-model-name", weights.name,
        "--host", "127.0.0.1", "--port", str(serving.port),
        "--max-num-seqs", str(serving.slots), "--max-model-len", str(serving.context),
        "--enable-prefix-caching", "--generation-config", "vllm", "--seed", "0", "--disable-uvicorn-access-log",
    ]  # fmt: skip
    if environment.device == "cpu":
        # A prompt read in parts gives random numbers of a seeded request back, which on the CPU ends the engine.
        whole = ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(max(2 * serving.context, 8192))]
        command += ["--enforce-eager", "--kv-cache-memory-bytes", "1G", *whole]
    return command


def serving_environment(environment: VllmEnvironment, weights: Weights, serving: Serving) -> dict[str, str]:
    """Return the server's environment variables: no telemetry, nothing of this Python, no spinning threads.

    The key goes this way, since a command line can be read by every user of the machine.
    """
    dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "WHYRANK_API_KEY", "OPENAI_API_KEY")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    kept |= {
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if weights.local:
        kept |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if serving.key:
        kept["VLLM_API_KEY"] = serving.key
    if environment.device == "cpu":
        kept |= {"OMP_NUM_THREADS": str(usable_cores()), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        kept |= CALM | {"KMP_BLOCKTIME": "0"}
    return kept


@contextmanager
def vllm_server(
    model: str = "auto",
    *,
    slots: int | None = None,
    context: int = 4096,
    log: Path | None = None,
    device: Device | None = None,
) -> Iterator[Endpoint]:
    """Run a vLLM server for the duration of a `with` block, on 127.0.0.1 and a free port, behind its own key.

    Parameters
    ----------
    model
        "auto" (SmolLM2-135M-Instruct), a GGUF file, a folder of weights, or a name on a model hub.
    slots
        Requests worked on at the same time. By default 32 on the CPU, 256 on a GPU.
    context
        Tokens of prompt and answer together.
    log
        Where the server's log goes; by default a temporary file that is removed if all went well.
    device
        "cpu" or "cuda"; by default what there is.

    Raises
    ------
    InputError
        If there is no such model.
    FetchError
        If vLLM can't be installed, or the model not be fetched.
    ServerError
        If the server doesn't start; the message ends with the last lines of its log.
    """
    key = secrets.token_urlsafe(24)
    with _running(model, slots=slots, context=context, log=log, device=device, port=0, key=key) as (endpoint, _):
        yield endpoint


def serve_vllm_forever(
    model: str = "auto",
    *,
    port: int = 8000,
    slots: int | None = None,
    context: int = 4096,
    log: Path | None = None,
    device: Device | None = None,
    ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Run a vLLM server in the foreground, on 127.0.0.1, until Ctrl-C; see `vllm_server` and `serve_forever`.

    Raises
    ------
    ServerError
        If it doesn't start (the port is taken, say) or dies.
    """
    key = os.environ.get("WHYRANK_API_KEY", "")
    with (
        suppress(KeyboardInterrupt),
        _running(model, slots=slots, context=context, log=log, device=device, port=port, key=key) as (endpoint, heard),
    ):
        if ready is not None:
            ready(endpoint)
        raise ServerError(f"the vLLM server ended with exit status {json.loads(heard.get() or '{}').get('status')}")


@contextmanager
def _running(
    model: str, *, slots: int | None, context: int, log: Path | None, device: Device | None, port: int, key: str
) -> Iterator[tuple[Endpoint, queue.Queue[str]]]:
    if port and not _is_free(port):
        raise ServerError(f"port {port} on 127.0.0.1 is taken: choose another one")
    environment = vllm_environment(device)
    weights = weights_of(model, environment)
    serving = Serving(slots or _SLOTS[environment.device], context, port or _free_port(), key)
    order = {
        "command": vllm_command(environment, weights, serving),
        "environment": serving_environment(environment, weights, serving),
        "folder": str(environment.folder),
        "parent": os.getpid(),
    }
    with log_file(log) as (stream, path), _child(stream, order) as heard:
        address = f"http://127.0.0.1:{serving.port}"
        with waiting(f"Starting vLLM with {weights.name}") as note:
            _wait_until_healthy(address, heard, path, note)
        yield (
            Endpoint(f"{address}/v1", model=weights.name, slots=serving.slots, api_key=key or "none"),
            heard,
        )


@contextmanager
def _child(log: IO[bytes], order: Mapping[str, Any]) -> Iterator[queue.Queue[str]]:
    """The keeper's process, and what it says. Closing its stdin, as this process's death does, ends the server."""
    heard: queue.Queue[str] = queue.Queue()
    with child_process(_CHILD, log, environment=os.environ, longest_stop=_LONGEST_STOP) as process:
        stdout = pipe_of(process.stdout)

        def listen() -> None:
            with suppress(ValueError):  # the pipe is closed while it listens
                for line in stdout:
                    heard.put(line)
            heard.put("")

        give_order(process, order)
        threading.Thread(target=listen, daemon=True).start()
        said = json.loads(heard.get(timeout=30) or "{}")
        if "pid" not in said:
            raise ServerError("the vLLM server could not be started")
        yield heard


def _wait_until_healthy(address: str, heard: queue.Queue[str], log: Path, note: Note) -> None:
    import httpx

    deadline = time.monotonic() + _LONGEST_START
    with httpx.Client(trust_env=False, timeout=5.0) as http:
        while time.monotonic() < deadline:
            with suppress(queue.Empty):
                line = heard.get(timeout=0.25)
                status = json.loads(line or "{}").get("status")
                raise ServerError(f"vLLM did not start: it ended with exit status {status}{log_tail(log, 12)}")
            with suppress(httpx.HTTPError):
                if http.get(f"{address}/health").status_code == httpx.codes.OK:
                    return
            note(_latest(log))
    raise ServerError(f"vLLM did not start within {_LONGEST_START:.0f} s{log_tail(log, 12)}")


def _latest(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace")[-600:].splitlines()
    return next((line.rsplit("] ", 1)[-1] for line in reversed(lines) if line.strip()), "")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
