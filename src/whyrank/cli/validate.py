"""`whyrank validate`."""

from __future__ import annotations

from pathlib import Path

import click

from whyrank.cli.budget import budget_options
from whyrank.cli.output import print_rich, write_frame
from whyrank.cli.study_options import open_study, study_options

__all__ = ["validate"]


@click.command()
@study_options
@click.option("--edge", "edges", multiple=True, metavar="EDGE", help="Only this edge; may be given again.")
@budget_options
@click.option("--plan", is_flag=True, help="Show what would be tested, most promising first, and estimate nothing.")
def validate(
    study: Path,
    workdir: Path | None,
    edges: tuple[str, ...],
    budget_edges: int | None,
    budget_minutes: float | None,
    plan: bool,
) -> None:
    """Estimate and refute what is proposed and not yet judged.

    With a budget the most promising edges come first. Those passed over count as tests that found nothing, so that
    choosing among many costs as much as testing many.

    An EDGE is written "items.free_shipping -> events.purchase", with a modifier
    "items.discount -> events.purchase | users.new_user".
    """
    from whyrank.cli.verdict_table import draw_verdicts, sort_verdicts
    from whyrank.edge import Edge

    wanted = [Edge.parse(text) for text in edges]
    if wanted and (plan or budget_edges is not None or budget_minutes is not None):
        raise click.UsageError("--edge names what is tested: it doesn't go with --plan or a budget")
    opened = open_study(study, workdir)
    if plan:
        write_frame(opened.plan(), format_=None, output=None)
        return
    frame = opened.validate(edges=wanted or None, budget_edges=budget_edges, budget_minutes=budget_minutes)
    print_rich(draw_verdicts(sort_verdicts(frame)))
