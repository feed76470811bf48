"""The options `--context name=value` and `--context-file FILE`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from whyrank.errors import InputError

if TYPE_CHECKING:
    from whyrank.ranker import ContextLike
    from whyrank.study import Study

__all__ = ["context_options", "parse_context", "read_context_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


def context_options(command: _F) -> _F:
    """Add the options `--context` and `--context-file`."""
    command = click.option(
        "--context-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A plan that differs by item: a table (CSV, Parquet) of item ids and a column per attribute of the "
        "exposure. --context counts where it says nothing, else the log's mean.",
    )(command)
    return click.option(
        "--context",
        multiple=True,
        metavar="NAME=VALUE",
        help="An attribute of the exposure to score for, such as display=1; may be given again.",
    )(command)


def read_context_options(study: Study, pairs: Sequence[str], file: Path | None) -> ContextLike | None:
    """Read both options into a context to rank in; None without any. Names and values in a file are checked.

    Raises
    ------
    InputError
        If a pair, the file, or a name or value in the file can't be used.
    """
    given = parse_context(pairs)
    if file is None:
        return given
    from whyrank.datasets.read_table import read_table
    from whyrank.ranker import read_context

    return read_context(study.data, read_table(file), given)


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
