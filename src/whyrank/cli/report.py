"""`whyrank report`."""

from __future__ import annotations

from pathlib import Path

import click

from whyrank.cli.study_options import open_study, study_options

__all__ = ["report"]


@click.command()
@study_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it. [default: report.html in the workdir]",
)
def report(study: Path, workdir: Path | None, output: Path | None) -> None:
    """Write the report: one self-contained HTML file.

    It holds the causal map, the verdicts and the evidence behind each. Its path is printed.
    """
    click.echo(str(open_study(study, workdir).report(path=output)))
