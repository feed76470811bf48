"""`whyrank init`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["init"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--force", is_flag=True, help="Replace a whyrank.toml that is already there.")
def init(folder: Path, force: bool) -> None:
    """Look at the tables in DIR and write a commented whyrank.toml."""
    from whyrank.datasets import write_study

    path = write_study(folder, force=force)
    click.echo(str(path))
    click.echo(f"read it, correct it, then: whyrank check {folder}", err=True)
