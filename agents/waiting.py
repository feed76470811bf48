"""What is being waited for, on stderr: a spinner on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Note", "waiting"]

_SECONDS_BETWEEN_LINES = 15.0
_LONGEST_NOTE = 60


class Note(Protocol):
    """Called with what is going on just now; called often, it is shown now and then."""

    def __call__(self, note: str) -> None:
        """Show it."""


@contextmanager
def waiting(what: str) -> Iterator[Note]:
    """Show `what` for the duration of a `with` block, with the time it takes and the latest note."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if not console.is_terminal:
        line(what)
        yield _now_and_then(line)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda note: progress.update(task, description=f"{what}: {_short(note)}" if note else what)


def _now_and_then(line: Callable[[str], None]) -> Note:
    last = time.monotonic()

    def show(note: str) -> None:
        nonlocal last
        if note and time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            line(f"  {_short(note)}")

    return show


def _short(note: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in note).split())
    return line if len(line) <= _LONGEST_NOTE else f"{line[: _LONGEST_NOTE - 1]}…"
