"""`whyrank check`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from whyrank.cli.output import plain, write_json
from whyrank.cli.study_options import open_study, study_options

__all__ = ["check"]


@click.command()
@study_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to write it.",
)
@click.pass_context
def check(ctx: click.Context, study: Path, workdir: Path | None, format_: Literal["text", "json"]) -> None:
    """Read everything, say what is wrong or doubtful.

    Nothing is estimated.

    Exits 2 if something must be changed before the study can run, else 0.
    """
    findings = open_study(study, workdir).check()
    errors = [f for f in findings if f.severity == "error"]
    if format_ == "json":
        write_json([{"severity": f.severity, "code": f.code, "message": f.message} for f in findings])
    else:
        for finding in findings:
            line = f"{finding.severity}: {plain(finding.message)} [{finding.code}]"
            click.echo(line, err=finding.severity == "error")
    doubtful = len(findings) - len(errors)
    if errors:
        click.echo(f"{study}: {len(errors)} to correct, {doubtful} doubtful", err=True)
        ctx.exit(2)
    click.echo(f"{study}: nothing wrong, {doubtful} doubtful", err=True)
