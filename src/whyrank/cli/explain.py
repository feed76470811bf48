"""`whyrank explain`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from whyrank.cli.context_option import context_options, read_context_options
from whyrank.cli.evidence import draw_trace
from whyrank.cli.output import plain, print_rich, write_json
from whyrank.cli.study_options import open_study, study_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whyrank.ranker import Explanation

__all__ = ["explain"]


@click.command()
@study_options
@click.option("--edge", metavar="EDGE", help="The evidence behind the verdicts on this edge.")
@click.option("--user", metavar="ID", help="With --item: why this item for this user.")
@click.option("--item", metavar="ID", help="With --user: the item.")
@click.option("--outcome", metavar="NAME", help="The score for this outcome. [default: the study's first]")
@context_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to write it.",
)
def explain(
    study: Path,
    workdir: Path | None,
    edge: str | None,
    user: str | None,
    item: str | None,
    outcome: str | None,
    context: tuple[str, ...],
    context_file: Path | None,
    format_: Literal["text", "json"],
) -> None:
    """Show what is behind a verdict or a score."""
    if (edge is None) == (user is None and item is None) or (edge is None and (user is None or item is None)):
        raise click.UsageError("give --edge EDGE, or both --user ID and --item ID")
    opened = open_study(study, workdir)
    if edge is not None:
        trace = opened.explain(edge)
        if format_ == "json":
            write_json(trace)
        else:
            print_rich(*draw_trace(trace))
        return
    assert user is not None and item is not None  # noqa: S101, PT018 - checked above
    given = read_context_options(opened, context, context_file)
    ranker = opened.ranker(outcome=outcome)
    explanation = ranker.explain(user, item, context=given)
    if format_ == "json":
        write_json(asdict(explanation))
    else:
        print_rich(*_score(explanation, ranker.data.title(item)))


def _score(explanation: Explanation, title: str) -> list[RenderableType]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    e = explanation
    sum_ = f"score {e.score:.4g} = {e.base_name} {e.base:.4g} + causal {e.causal:.4g}"
    what = f"{e.item_id} ({title})" if title else e.item_id
    head = Text(plain(f"{what} for {e.user_id}, ranked for {e.outcome}: {sum_}"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("adds", justify="right")
    table.add_column("because", overflow="fold", ratio=1)
    table.add_column("edge", overflow="fold", ratio=1)
    for c in e.contributions:
        where = f" (user: {c.modifier} = {c.modifier_value})" if c.modifier else ""
        table.add_row(
            Text(f"{c.contribution:+.4g}"),
            Text(plain(f"{c.attribute} = {c.value}{where}")),
            Text(plain(f"{c.edge}: {c.verdict}")),
        )
    return [head, table]
