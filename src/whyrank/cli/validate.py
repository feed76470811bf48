"""`whyrank validate`."""

from __future__ import annotations

from pathlib import Path

import click

from whyrank.cli.output import print_rich
from whyrank.cli.study_options import open_study, study_options

__all__ = ["validate"]


@click.command()
@study_options
@click.option("--edge", "edges", multiple=True, metavar="EDGE", help="Only this edge; may be given again.")
def validate(study: Path, workdir: Path | None, edges: tuple[str, ...]) -> None:
    """Estimate and refute what is proposed and not yet judged.

    An EDGE is written "items.free_shipping -> events.purchase", with a modifier
    "items.discount -> events.purchase | users.new_user".
    """
    from whyrank.cli.verdict_table import draw_verdicts, sort_verdicts
    from whyrank.edge import Edge

    wanted = [Edge.parse(text) for text in edges]
    frame = open_study(study, workdir).validate(edges=wanted or None)
    print_rich(draw_verdicts(sort_verdicts(frame)))
