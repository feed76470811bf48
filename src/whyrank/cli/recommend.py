"""`whyrank recommend`."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from whyrank.cli.context_option import context_options, read_context_options
from whyrank.cli.output import Format, chosen_format, format_options, plain, write_frame
from whyrank.cli.study_options import open_study, study_options

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

    from whyrank.ranker import ContextLike, Explanation, Ranker

__all__ = ["draw_recommendations", "recommend", "with_reasons"]

_QUIET_ROWS = 300
_TITLE_WIDTH = 28
_LONGEST_TITLE = 80


def with_reasons(ranker: Ranker, frame: pd.DataFrame, context: ContextLike | None = None) -> pd.DataFrame:
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


def draw_recommendations(
    frame: pd.DataFrame, ranker: Ranker, context: ContextLike | None = None, *, reasons: bool = True
) -> Table:
    """Draw ranked items: the strongest reasons of each, one a line, whose amounts add up to its score."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = frame["user_id"].nunique() > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if several:
        table.add_column("user", overflow="fold")
    table.add_column("rank", justify="right")
    table.add_column("item", overflow="fold", max_width=_TITLE_WIDTH)
    table.add_column("score", justify="right")
    if reasons:
        table.add_column("why: what each validated effect adds", overflow="fold", ratio=1)
    for row in frame.to_dict("records"):
        user, item = str(row["user_id"]), str(row["item_id"])
        cells: list[Text | Table] = [Text(plain(user))] if several else []
        cells += [Text(str(row["rank"])), _item(item, ranker.data.title(item)), Text(f"{row['score']:.4g}")]
        if reasons:
            explanation = ranker.explain(user, item, context=context)
            cells.append(_why(explanation, ranker.data.config.study.language))
        table.add_row(*cells)
    return table


def _item(item: str, title: str) -> Text:
    """The item's id, and below it what it is called."""
    from rich.text import Text

    text = Text(plain(item))
    if title:
        short = title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 1] + "…"
        text.append(f"\n{plain(short)}", style="dim")
    return text


def _why(explanation: Explanation, language: Literal["en", "zh"]) -> Table:
    """One line per reason, its amount in front."""
    from rich.table import Table
    from rich.text import Text

    told = explanation.brief(language)
    largest = max(abs(amount) for amount, _ in told)
    decimals = min(9, max(0, 2 - math.floor(math.log10(largest)))) if largest > 0 else 2
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for amount, reason in told:
        table.add_row(Text(f"{amount:+.{decimals}f}"), Text(plain(reason)))
    return table


@click.command()
@study_options
@click.option("--user", "users", multiple=True, metavar="ID", help="Rank for this user; may be given again.")
@click.option("--all-users", is_flag=True, help="Rank for every user of the study.")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Items per user.")
@click.option("--outcome", metavar="NAME", help="Rank for this outcome. [default: the study's first]")
@click.option("--include-seen", is_flag=True, help="Keep items that the user has bought (or clicked, ...) already.")
@context_options
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
    context_file: Path | None,
    reasons: bool,
    format_: Format | None,
    output: Path | None,
) -> None:
    """Rank items for users, each item with its reasons.

    The table shows the three strongest reasons, and what is left; csv, json and parquet have all of them as sentences.
    """
    if bool(users) == all_users:
        raise click.UsageError("give --user ID (once or more often), or --all-users")
    opened = open_study(study, workdir)
    given = read_context_options(opened, context, context_file)
    ranker = opened.ranker(outcome=outcome)
    seen = True if include_seen else None
    if all_users:
        frame = ranker.recommend_all(k, include_seen=seen, context=given)
    else:
        frame = ranker.recommend(list(users), k=k, include_seen=seen, context=given)
    if reasons and chosen_format(format_, output) != "table":
        frame = with_reasons(ranker, frame, given)
    draw = partial(draw_recommendations, ranker=ranker, context=given, reasons=reasons)
    write_frame(frame, format_=format_, output=output, table=draw)
