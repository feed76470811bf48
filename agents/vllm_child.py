"""The keeper of a vLLM server: run as a script, it imports nothing of WhyRank.

It reads one line of JSON from stdin (command, environment, folder, parent), starts the command in its own process
group, says `{"pid": …}` on stdout, and ends the whole group when stdin closes or the parent is gone, however the parent
ended. vLLM is several processes: none of them is left behind. When the command ends by itself it says
`{"status": …}`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

__all__ = ["main"]

_PATIENCE = 8.0
"""Seconds that the server has to end by itself."""


def main() -> int:
    """Keep the server until the parent lets go, or it ends."""
    order = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is sent to the whole group, this process among it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keeper = os.getpid()

    def die_with_keeper() -> None:
        """Have the system end the server if this process is killed (Linux)."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        libc = ctypes.CDLL(None)
        if hasattr(libc, "prctl"):
            libc.prctl(1, signal.SIGTERM)
        if os.getppid() != keeper:
            os._exit(1)

    server = subprocess.Popen(
        order["command"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=sys.stderr.fileno(),
        env=order["environment"],
        cwd=order["folder"],
        preexec_fn=die_with_keeper,
    )
    _say({"pid": server.pid})
    gone = threading.Event()
    threading.Thread(target=_watch_stdin, args=(gone,), daemon=True).start()
    threading.Thread(target=_watch_parent, args=(gone, int(order["parent"])), daemon=True).start()
    while server.poll() is None and not gone.is_set():
        time.sleep(0.1)
    if not gone.is_set():
        _say({"status": server.returncode})
    _end_group(server)
    return 0


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """End every process of the group: asked first, killed after a while; this one goes with them."""
    group = os.getpgrp()
    os.killpg(group, signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and (server.poll() is None or _others(group)):
        time.sleep(0.1)
    if server.poll() is None or _others(group):
        os.killpg(group, signal.SIGKILL)


def _others(group: int) -> bool:
    """Whether another process of the group is alive; unknown counts as yes."""
    try:
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    except OSError:
        return True
    for pid in pids:
        if pid == os.getpid():
            continue
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def _watch_stdin(gone: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    gone.set()


def _watch_parent(gone: threading.Event, parent: int) -> None:
    """A process forked by the parent may hold the pipe open; the parent's death is noticed all the same."""
    while os.getppid() == parent:
        time.sleep(0.5)
    gone.set()


def _say(what: dict[str, int | None]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
