"""The option `--context name=value`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from whyrank.errors import InputError

__all__ = ["context_option", "parse_context"]

_F = TypeVar("_F", bound=Callable[..., Any])


def context_option(command: _F) -> _F:
    """Add the option `--context`."""
    return click.option(
        "--context",
        multiple=True,
        metavar="NAME=VALUE",
        help="An attribute of the exposure to score for, such as display=1; may be given again.",
    )(command)


def parse_context(pairs: Sequence[str]) -> dict[str, str] | None:
    """Read `name=value` pairs; None without any.

    Raises
    ------
    InputError
        If a pair has no `=`, no name, or a name given before.

    Examples
    --------
    >>> parse_context(["display=1", "events.device=phone"])
    {'display': '1', 'events.device': 'phone'}
    """
    context: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InputError(f"context {pair!r} is not like 'display=1'")
        if name in context:
            raise InputError(f"context {name!r} is given twice")
        context[name] = value.strip()
    return context or None
