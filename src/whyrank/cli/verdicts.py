"""`whyrank verdicts`."""

from __future__ import annotations

from pathlib import Path

import click

from whyrank.cli.output import Format, format_options, write_frame
from whyrank.cli.study_options import open_study, study_options

__all__ = ["verdicts"]


@click.command()
@study_options
@format_options
def verdicts(study: Path, workdir: Path | None, format_: Format | None, output: Path | None) -> None:
    """Print the verdict table.

    As a table for people: the edge, its verdict with the first reason, effect and interval. As csv, json or
    parquet: every column.
    """
    from whyrank.cli.verdict_table import draw_verdicts, sort_verdicts

    frame = sort_verdicts(open_study(study, workdir).verdicts())
    write_frame(frame, format_=format_, output=output, table=draw_verdicts)
