"""`whyrank run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from whyrank.cli.output import plain, print_rich
from whyrank.cli.sources import parse_sources, source_option
from whyrank.cli.study_options import open_study, study_options
from whyrank.errors import NameNotFound

if TYPE_CHECKING:
    from whyrank.study import Study

__all__ = ["run"]

_ROWS = 40


@click.command()
@study_options
@source_option
@click.option("--user", metavar="ID", help="Show what this user would be recommended. [default: the first user]")
@click.option("--outcome", metavar="NAME", help="Rank for this outcome. [default: the study's first]")
def run(study: Path, workdir: Path | None, sources: str, user: str | None, outcome: str | None) -> None:
    """Propose, validate, weigh, rank and report.

    Resumes where it was stopped: nothing is asked or estimated twice. Ends with the verdicts, ten items with their
    reasons for one user, and where the report lies.
    """
    chosen = parse_sources(sources)
    opened = open_study(study, workdir)
    opened.data.outcome(outcome)
    if user is not None and user not in opened.data.user_index:
        raise NameNotFound(f"no user {user!r} in this study")
    summary = opened.run(sources=chosen)
    _show_verdicts(opened, study)
    _show_items(opened, user, outcome)
    click.echo(f"report: {summary.report}")


def _show_verdicts(opened: Study, study: Path) -> None:
    from whyrank.cli.verdict_table import draw_verdicts, sort_verdicts

    frame = sort_verdicts(opened.verdicts())
    print_rich(draw_verdicts(frame.head(_ROWS)))
    counts = frame["verdict"].value_counts()
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
    if len(frame) > _ROWS:
        click.echo(f"{len(frame) - _ROWS} more rows: whyrank verdicts {study}")


def _show_items(opened: Study, user: str | None, outcome: str | None) -> None:
    from whyrank.cli.recommend import draw_recommendations, with_reasons

    ranker = opened.ranker(outcome=outcome)
    frame = ranker.recommend([user] if user is not None else [str(ranker.data.user_ids[0])], k=10)
    if user is None and frame.empty:
        frame = ranker.recommend_all(10)
        frame = frame[frame["user_id"] == frame["user_id"].iloc[0]] if len(frame) else frame
    if frame.empty:
        click.echo("nothing is left to recommend: every item was seen")
        return
    click.echo(f"\nFor {plain(frame['user_id'].iloc[0])}, ranked for {ranker.outcome.name}:")
    print_rich(draw_recommendations(with_reasons(ranker, frame)))
