"""The `whyrank` program: its commands, and what becomes of warnings and errors.

Nothing heavy is imported before a command runs, so that help is instant.
"""

from __future__ import annotations

import io
import logging
import sys
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click

from whyrank.cli.attributes import attributes
from whyrank.cli.check import check
from whyrank.cli.effects import effects
from whyrank.cli.example import example
from whyrank.cli.explain import explain
from whyrank.cli.init import init
from whyrank.cli.llm import llm
from whyrank.cli.llm_files import export_questions, import_replies
from whyrank.cli.propose import propose
from whyrank.cli.recommend import recommend
from whyrank.cli.report import report
from whyrank.cli.run import run
from whyrank.cli.validate import validate
from whyrank.cli.verdicts import verdicts
from whyrank.cli.weights import weights
from whyrank.errors import WhyRankError, WhyRankWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["App", "main"]


class App(click.Group):
    """A group that turns every error into one clear message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises is told on stderr, without a traceback unless asked for."""
        debug = bool(ctx.params.get("debug"))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal that has no ✓ shows a ?
        try:
            with _warnings_as_lines(debug), _logs_as_lines(debug):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted; what was finished is kept", err=True)
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except WhyRankError as error:
            _tell(error, f"error: {error}", debug)
            ctx.exit(error.exit_code)
        except Exception as error:  # noqa: BLE001 - the last resort: told in one line, and the traceback is offered
            line = f"error: unexpected {type(error).__name__}: {error}".splitlines()[0]
            _tell(error, f"{line}\nSet WHYRANK_DEBUG=1 to see where; this is a bug, please report it.", debug)
            ctx.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List commands in the order in which they are used."""
        return list(self.commands)


def _tell(error: Exception, message: str, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    click.echo(message, err=True)


@contextmanager
def _warnings_as_lines(debug: bool) -> Iterator[None]:
    """Show the project's own warnings as short lines, each once; those of libraries only to who debugs."""
    seen: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        if issubclass(category, WhyRankWarning):
            text = f"warning: {text}"
        elif debug:
            text = f"{category.__name__}: {text} ({filename}:{lineno})"
        else:
            return
        if text not in seen:
            seen.add(text)
            click.echo(text, err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


class _EchoHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"{record.levelname.lower()}: {record.getMessage()}", err=True)


@contextmanager
def _logs_as_lines(debug: bool) -> Iterator[None]:
    """Send the project's log lines from warnings upward to stderr; other libraries' errors too."""
    root, own = logging.getLogger(), logging.getLogger("whyrank")
    handler = _EchoHandler(logging.DEBUG)
    handler.addFilter(lambda r: debug or r.levelno >= logging.ERROR or r.name.split(".")[0] == "whyrank")
    before = root.level, own.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    own.setLevel(logging.INFO if debug else logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="whyrank", prog_name="whyrank")
@click.option("--debug", is_flag=True, hidden=True, envvar="WHYRANK_DEBUG", help="Show tracebacks.")
def main(debug: bool) -> None:
    """Rank by cause, not by correlation.

    A language model proposes which attributes of users and items cause clicks and purchases; statistics on the
    behaviour logs decide; only what survives moves a ranking.

    STUDY is a whyrank.toml, or the folder it lies in. `whyrank init DIR` writes one; `whyrank run STUDY` does
    everything.
    """


for _command in (
    init,
    check,
    attributes,
    run,
    propose,
    validate,
    verdicts,
    weights,
    effects,
    recommend,
    explain,
    report,
    llm,
    example,
):
    main.add_command(_command)

for _command in (export_questions, import_replies):
    llm.add_command(_command)
