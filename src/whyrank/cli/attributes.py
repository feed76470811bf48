"""`whyrank attributes`."""

from __future__ import annotations

from pathlib import Path

import click

from whyrank.cli.output import Format, format_options, write_frame
from whyrank.cli.study_options import open_study, study_options

__all__ = ["attributes"]


@click.command()
@study_options
@click.option("--propose", "proposing", is_flag=True, help="Have the model read texts and write attributes.toml.")
@click.option("--label", "labelling", is_flag=True, help="Have the model label the items that need it.")
@click.option("--force", is_flag=True, help="Replace an attributes.toml that is there; label anew what is labelled.")
@format_options
def attributes(
    study: Path,
    workdir: Path | None,
    proposing: bool,
    labelling: bool,
    force: bool,
    format_: Format | None,
    output: Path | None,
) -> None:
    """Attributes of the items that their texts tell: proposed, edited by you, labelled, tested like any column.

    Without an option it tells how the labels stand: items by level, missing ones, agreement.
    """
    opened = open_study(study, workdir)
    if proposing:
        report = opened.propose_text_attributes(force=force)
        click.echo(
            f"{report.proposed} attributes in {opened.text_schema_path}; read and edit them, then --label", err=True
        )
    if labelling:
        report = opened.label_texts(force=force)
        calls = 0 if report.usage is None else report.usage.calls
        click.echo(f"{report.labelled} labels made now, by {report.method}, {calls} calls", err=True)
    if not proposing or labelling:
        write_frame(opened.text_attributes(), format_=format_, output=output)
