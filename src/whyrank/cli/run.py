"""`whyrank run`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whyrank.cli.budget import budget_options
from whyrank.cli.context_option import context_options, read_context_options
from whyrank.cli.output import plain, print_rich
from whyrank.cli.sources import parse_sources, source_option
from whyrank.cli.study_options import open_study, study_options
from whyrank.errors import NameNotFound

if TYPE_CHECKING:
    from whyrank.ranker import ContextLike
    from whyrank.study import Study

__all__ = ["run"]

_ROWS = 40


@click.command()
@study_options
@source_option
@click.option("--user", metavar="ID", help="Show what this user would be recommended. [default: the first user]")
@click.option("--outcome", metavar="NAME", help="Rank for this outcome. [default: the study's first]")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds of the language model. [default: the study's, 2]")
@budget_options
@context_options
def run(
    study: Path,
    workdir: Path | None,
    sources: str,
    user: str | None,
    outcome: str | None,
    rounds: int | None,
    budget_edges: int | None,
    budget_minutes: float | None,
    context: tuple[str, ...],
    context_file: Path | None,
) -> None:
    """Propose, validate, weigh, rank and report.

    Resumes where it was stopped: nothing is asked or estimated twice. Ends with the verdicts, ten items with their
    reasons for one user, and where the report lies.
    """
    chosen = parse_sources(sources)
    opened = open_study(study, workdir)
    opened.data.outcome(outcome)
    if user is not None and user not in opened.data.user_index:
        raise NameNotFound(f"no user {user!r} in this study")
    given = read_context_options(opened, context, context_file)
    from whyrank.hypothesis_rounds import told

    started = time.monotonic()
    summary = opened.run(
        sources=chosen, context=given, budget_edges=budget_edges, budget_minutes=budget_minutes, rounds=rounds
    )
    seconds = time.monotonic() - started
    _show_verdicts(opened, study)
    _show_items(opened, user, outcome, given)
    click.echo(
        f"{summary.hypotheses} hypotheses, {summary.estimated} contrasts estimated now, "
        f"{summary.calls} model calls sent and {summary.cached} answered from the ledger, {seconds:.1f} s"
    )
    for line in told(summary.rounds, summary.validated):
        click.echo(plain(line))
    click.echo(f"report: {summary.report}")


def _show_verdicts(opened: Study, study: Path) -> None:
    from whyrank.cli.verdict_table import draw_verdicts, sort_verdicts

    frame = sort_verdicts(opened.verdicts())
    print_rich(draw_verdicts(frame.head(_ROWS)))
    counts = frame["verdict"].value_counts()
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
    if len(frame) > _ROWS:
        click.echo(f"{len(frame) - _ROWS} more rows: whyrank verdicts {study}")


def _show_items(opened: Study, user: str | None, outcome: str | None, context: ContextLike | None) -> None:
    from whyrank.cli.recommend import draw_recommendations

    ranker = opened.ranker(outcome=outcome)
    frame = ranker.recommend([user] if user is not None else [str(ranker.data.user_ids[0])], k=10, context=context)
    if user is None and frame.empty:
        frame = ranker.recommend_all(10, context=context)
        frame = frame[frame["user_id"] == frame["user_id"].iloc[0]] if len(frame) else frame
    if frame.empty:
        click.echo("nothing is left to recommend: every item was seen")
        return
    click.echo(f"\nFor {plain(frame['user_id'].iloc[0])}, ranked for {ranker.outcome.name}:")
    print_rich(draw_recommendations(frame, ranker, context))
