"""`whyrank weights`."""

from __future__ import annotations

from pathlib import Path

import click

from whyrank.cli.output import Format, format_options, write_frame
from whyrank.cli.study_options import open_study, study_options

__all__ = ["weights"]


@click.command()
@study_options
@click.option("--outcome", metavar="NAME", help="Weights for this outcome. [default: the study's first]")
@click.option("--user", "users", multiple=True, metavar="ID", help="Only this user; may be given again.")
@format_options
def weights(
    study: Path,
    workdir: Path | None,
    outcome: str | None,
    users: tuple[str, ...],
    format_: Format | None,
    output: Path | None,
) -> None:
    """Print the causal weight of each attribute for each user.

    Only validated edges carry a weight other than 0.
    """
    frame = open_study(study, workdir).weights(outcome=outcome, users=list(users) or None)
    write_frame(frame, format_=format_, output=output)
