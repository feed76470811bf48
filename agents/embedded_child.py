"""The embedded server's own process: run as a script, it imports nothing of WhyRank.

It reads one line of JSON from stdin (model, slots, context, threads, port, key), answers one line of JSON on
stdout (the address, or what went wrong), and serves until stdin closes or its parent is gone, however the parent
ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

__all__ = ["main"]


def main() -> int:
    """Serve until the parent lets go."""
    order = json.loads(sys.stdin.readline())
    gone = threading.Event()
    threading.Thread(target=_watch_stdin, args=(gone,), daemon=True).start()
    threading.Thread(target=_watch_parent, args=(gone, int(order["parent"])), daemon=True).start()
    try:
        server = _start(order)
    except (RuntimeError, OSError, ValueError, ImportError) as error:
        _say({"error": f"{type(error).__name__}: {error}"})
        return 1
    _say({"address": server.listening_address})
    gone.wait()
    del server
    return 0


def _start(order: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = order["model"]
    params.model_alias = {order["alias"]}
    params.hostnames = [order["host"]]
    params.port = order["port"]
    params.n_parallel = order["slots"]
    params.n_ctx = order["slots"] * order["context"]
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = order["threads"]
    params.cache_ram_mib = 256
    params.flash_attn_type = 0  # sums in another order for a prompt read in one go than for one partly in the cache
    params.ui = False
    params.offline = True
    params.cors_origins = "http://127.0.0.1"
    if order["key"]:
        params.api_keys = [order["key"]]
    return xllamacpp.Server(params)


def _watch_stdin(gone: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    _leave(gone)


def _watch_parent(gone: threading.Event, parent: int) -> None:
    """A process forked by the parent may hold the pipe open; the parent's death is noticed all the same."""
    while os.getppid() == parent:
        time.sleep(0.5)
    _leave(gone)


def _leave(gone: threading.Event) -> None:
    gone.set()
    time.sleep(5)
    os._exit(0)  # loading a model, or stuck in a request: don't outlive the parent


def _say(what: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
