"""Where hypotheses come from, as `--source` names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from whyrank.errors import InputError, nearest

__all__ = ["parse_sources", "source_option"]

_KNOWN = ("llm", "exhaustive")
_F = TypeVar("_F", bound=Callable[..., Any])


def source_option(command: _F) -> _F:
    """Add the option `--source`."""
    return click.option(
        "--source",
        "sources",
        default="llm",
        show_default=True,
        metavar="SOURCES",
        help="Who proposes, separated by commas: llm (the language model), exhaustive (every possible edge), "
        "or a file of hypotheses, FILE.jsonl.",
    )(command)


def parse_sources(text: str) -> tuple[str, ...]:
    """Split what `--source` was given: `llm`, `exhaustive`, or the path of a `.jsonl` file that exists.

    Raises
    ------
    InputError
        If a part is none of these.

    Examples
    --------
    >>> parse_sources("llm, exhaustive")
    ('llm', 'exhaustive')
    """
    sources: list[str] = []
    for part in (p.strip() for p in text.split(",")):
        if part == "discovery":
            raise InputError(
                "source 'discovery' is not available in this version; there are 'llm', 'exhaustive' and FILE.jsonl"
            )
        if part not in _KNOWN:
            if not part.endswith(".jsonl"):
                raise InputError(
                    f"source {part!r} is not 'llm', 'exhaustive' or the path of a .jsonl file{nearest(part, _KNOWN)}"
                )
            if not Path(part).is_file():
                raise InputError(f"source {part!r}: there is no such file")
        if part not in sources:
            sources.append(part)
    return tuple(sources)
