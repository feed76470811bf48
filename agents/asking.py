"""A client with a budget: questions beyond it are not asked, and all of them are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel

from whyrank.agents.client import Answered, Client, Progress, Question, Usage

__all__ = ["OVER_BUDGET", "Asker"]

A = TypeVar("A", bound=BaseModel)

OVER_BUDGET = "over_budget"
"""The kind of failure under which questions are counted that the budget left no call for."""


class Asker:
    """Asks a client as long as its budget of calls lasts.

    A call counts whether it is sent or answered by the store, so that a run that was stopped and goes on asks what it
    would have asked at once. The tries of the questions last asked may take it a little over its budget.

    Parameters
    ----------
    client : whom to ask.
    calls : the budget; None for no end.
    progress : called with what is being asked and how much of it is done.
    """

    def __init__(self, client: Client, *, calls: int | None = None, progress: Progress | None = None) -> None:
        self.client = client
        self.progress = progress
        self.usage = Usage(failures={})
        self._calls = calls

    @property
    def left(self) -> int | None:
        """Calls that are left; None if there is no end to them."""
        return None if self._calls is None else max(0, self._calls - self.usage.calls - self.usage.cached)

    def ask_all(self, questions: Sequence[Question[A]], *, what: str) -> list[Answered[A]]:
        """Ask; the answers come in the order of the questions, empty where the budget was spent.

        Raises
        ------
        ServerError
            If the server is gone.
        """
        most = len(questions) if self.left is None else min(len(questions), self.left)
        asked = self.client.ask_all(questions[:most], what=what, progress=self.progress) if most else []
        over = [Answered[A](None, (), (f"{OVER_BUDGET}: the calls are spent",)) for _ in questions[most:]]
        answers = [*asked, *over]
        self.charge(Usage.of(answers))
        return answers

    def charge(self, usage: Usage) -> None:
        """Count calls that somebody else made with the same client."""
        self.usage += usage
