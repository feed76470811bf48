"""`whyrank propose`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whyrank.cli.output import Format, format_options, write_frame
from whyrank.cli.sources import parse_sources, source_option
from whyrank.cli.study_options import open_study, study_options

if TYPE_CHECKING:
    import pandas as pd

    from whyrank.edge import Hypothesis

__all__ = ["propose"]

_BRIEF = ("edge", "claimed_sign", "source", "confidence", "mechanism")


@click.command()
@study_options
@source_option
@format_options
def propose(study: Path, workdir: Path | None, sources: str, format_: Format | None, output: Path | None) -> None:
    """Collect hypotheses, and estimate nothing.

    An --output that ends in .jsonl is a file that --source reads again.
    """
    chosen = parse_sources(sources)
    hypotheses = open_study(study, workdir).propose(sources=chosen)
    if output is not None and output.suffix == ".jsonl" and format_ is None:
        from whyrank.agents.sources import write_hypotheses

        write_hypotheses(hypotheses, output)
    else:
        frame = _frame(hypotheses)
        brief = output is None and format_ in (None, "table")
        write_frame(frame[list(_BRIEF)] if brief else frame, format_=format_, output=output)
    click.echo(f"{len(hypotheses)} hypotheses; next: whyrank validate {study}", err=True)


def _frame(hypotheses: Sequence[Hypothesis]) -> pd.DataFrame:
    import pandas as pd

    columns = ["edge", "claimed_sign", "source", "round", "confidence", "mechanism", "confounders"]
    rows = [
        (str(h.edge), h.claimed_sign, h.source, h.round, h.confidence, h.mechanism, ", ".join(h.confounders))
        for h in hypotheses
    ]
    return pd.DataFrame(rows, columns=columns).astype({"confidence": float})
