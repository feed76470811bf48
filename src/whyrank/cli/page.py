"""The page `docs/cli.md`, made from the commands themselves: `python -m whyrank.cli.page docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from whyrank.cli.app import main

__all__ = ["cli_page"]

_HEAD = """\
# Commands

This page is made from the commands: `python -m whyrank.cli.page docs/cli.md` writes it, and a test compares it.

Data goes to stdout, progress, warnings and logs to stderr. Every command exits 0 on success, 2 on wrong usage or bad
input (one clear message on stderr), 1 on failure, 130 on Ctrl-C. `WHYRANK_DEBUG=1` shows tracebacks.
"""


def cli_page() -> str:
    """Return the page: each command with its help, in the order in which commands are used."""
    return "\n".join([_HEAD, *_sections(main, None, "whyrank")])


def _sections(command: click.Command, parent: click.Context | None, name: str) -> Iterator[str]:
    context = click.Context(
        command, info_name=name, parent=parent, **{**command.context_settings, "terminal_width": 100}
    )
    level = "#" * (len(context.command_path.split()) + 1)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"{level} {context.command_path}\n\n```text\n{text}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None and not found.hidden:
                yield from _sections(found, context, inner)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(cli_page(), encoding="utf-8")
