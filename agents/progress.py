"""What is told while many questions are asked, and a bar that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Asking", "AskingBar", "DetailedProgress", "Progress"]


class Progress(Protocol):
    """Called now and then with what is being done, and how much of it is done."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show it."""


@runtime_checkable
class DetailedProgress(Protocol):
    """A `Progress` that is also told what the questions cost so far, a few times a second."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show it."""

    def show(self, asking: Asking) -> None:
        """Show all of it."""


@dataclass(frozen=True)
class Asking:
    """How far a set of questions is.

    Attributes
    ----------
    what : what is asked.
    done, total : questions.
    calls, cached : requests answered by the model, and by the store.
    tokens_in, tokens_out : of the calls, as the server counts them.
    seconds : since the first call was sent.
    settled : questions done that took a call.
    failures : unusable calls by kind.
    retried : requests sent again because there was no reply, by kind.
    in_flight : requests under way or waiting for their turn.
    paused : seconds that the server wants to be left alone from now on.
    """

    what: str
    done: int
    total: int
    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    settled: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    retried: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    paused: float = 0.0

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until all are done, at the pace of those that took a call; None before the first."""
        return (self.total - self.done) * self.seconds / self.settled if self.settled else None

    def __str__(self) -> str:
        """One line: calls, tokens, rate, failures by kind.

        Examples
        --------
        >>> print(Asking("causes", 5, 10, calls=8, tokens_in=900, tokens_out=100, seconds=2.0, failures={"cut": 2}))
        8 calls, 1,000 tokens, 4.0/s, 2 cut
        """
        parts = [f"{self.calls:,} calls", f"{self.tokens_in + self.tokens_out:,} tokens"] if self.calls else []
        if self.calls:
            parts.append(f"{self.rate:.1f}/s")
        if self.cached:
            parts.append(f"{self.cached:,} known")
        parts += [f"{count:,} {kind}" for kind, count in self.failures.items()]
        if self.retried:
            parts.append(f"{sum(self.retried.values()):,} sent again")
        if self.paused >= 1:
            parts.append(f"the server rests {self.paused:.0f} s")
        return ", ".join(parts)


class AskingBar:
    """Shows what a client tells on a Rich progress bar, one line for each thing that is asked."""

    def __init__(self, progress: RichProgress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Move the bar."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)

    def show(self, asking: Asking) -> None:
        """Move the bar and say what it cost so far."""
        self(asking.what, asking.done, asking.total)
        detail = str(asking)
        self._progress.update(
            self._tasks[asking.what], description=f"{asking.what} ({detail})" if detail else asking.what
        )
