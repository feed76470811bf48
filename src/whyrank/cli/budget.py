"""The options that bound what is spent on testing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["budget_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


def budget_options(command: _F) -> _F:
    """Add `--budget-edges` and `--budget-minutes`."""
    command = click.option(
        "--budget-minutes",
        type=click.FloatRange(min=0, min_open=True),
        metavar="M",
        help="Begin no further edge after so many minutes; the most promising come first.",
    )(command)
    return click.option(
        "--budget-edges",
        type=click.IntRange(min=1),
        metavar="N",
        help="Estimate at most so many edges now, the most promising ones.",
    )(command)
