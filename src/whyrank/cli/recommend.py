"""`whyrank recommend`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whyrank.cli.context_option import context_option, parse_context
from whyrank.cli.output import Format, format_options, plain, write_frame
from whyrank.cli.study_options import open_study, study_options

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from whyrank.ranker import Ranker

__all__ = ["draw_recommendations", "recommend", "with_reasons"]

_QUIET_ROWS = 300


def with_reasons(ranker: Ranker, frame: pd.DataFrame, context: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Add the column `reasons`: short sentences, separated by `; `."""
    from rich.console import Console
    from rich.progress import track

    pairs = list(zip(frame["user_id"], frame["item_id"], strict=True))
    console = Console(stderr=True)
    reasons = [
        "; ".join(sentence.rstrip(".。") for sentence in ranker.reasons(user, item, context=context))
        for user, item in track(pairs, "Reasons", console=console, disable=len(pairs) < _QUIET_ROWS, transient=True)
    ]
    return frame.assign(reasons=reasons)


def draw_recommendations(frame: pd.DataFrame) -> Table:
    """Draw ranked items with one line per reason."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = frame["user_id"].nunique() > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if several:
        table.add_column("user", overflow="fold")
    table.add_column("rank", justify="right")
    table.add_column("item", overflow="fold")
    table.add_column("score", justify="right")
    if "reasons" in frame:
        table.add_column("why", overflow="fold", ratio=1)
    for row in frame.to_dict("records"):
        cells = [Text(plain(row["user_id"]))] if several else []
        cells += [Text(str(row["rank"])), Text(plain(row["item_id"])), Text(f"{row['score']:.4g}")]
        if "reasons" in frame:
            cells.append(Text("\n".join(plain(reason) for reason in row["reasons"].split("; "))))
        table.add_row(*cells)
    return table


@click.command()
@study_options
@click.option("--user", "users", multiple=True, metavar="ID", help="Rank for this user; may be given again.")
@click.option("--all-users", is_flag=True, help="Rank for every user of the study.")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Items per user.")
@click.option("--outcome", metavar="NAME", help="Rank for this outcome. [default: the study's first]")
@click.option("--include-seen", is_flag=True, help="Keep items that the user has bought (or clicked, ...) already.")
@context_option
@click.option("--reasons/--no-reasons", default=True, show_default=True, help="Say why, for each item.")
@format_options
def recommend(
    study: Path,
    workdir: Path | None,
    users: tuple[str, ...],
    all_users: bool,
    k: int,
    outcome: str | None,
    include_seen: bool,
    context: tuple[str, ...],
    reasons: bool,
    format_: Format | None,
    output: Path | None,
) -> None:
    """Rank items for users, each item with its reasons."""
    if bool(users) == all_users:
        raise click.UsageError("give --user ID (once or more often), or --all-users")
    given = parse_context(context)
    ranker = open_study(study, workdir).ranker(outcome=outcome)
    seen = True if include_seen else None
    if all_users:
        frame = ranker.recommend_all(k, include_seen=seen, context=given)
    else:
        frame = ranker.recommend(list(users), k=k, include_seen=seen, context=given)
    if reasons:
        frame = with_reasons(ranker, frame, given)
    write_frame(frame, format_=format_, output=output, table=draw_recommendations)
