"""What every command on a study takes, and how it opens one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from whyrank.study import Study

__all__ = ["open_study", "study_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


def study_options(command: _F) -> _F:
    """Add the argument STUDY and the option `--workdir`."""
    command = click.option(
        "--workdir",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Where results live. [default: .whyrank beside the study file]",
    )(command)
    return click.argument("study", type=click.Path(path_type=Path), metavar="STUDY")(command)


def open_study(path: Path, workdir: Path | None) -> Study:
    """Open the study at `path`: its file, or the folder it lies in."""
    import whyrank

    return whyrank.open(path, workdir=workdir)
