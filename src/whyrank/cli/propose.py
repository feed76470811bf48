"""`whyrank propose`."""

from __future__ import annotations

from pathlib import Path

import click

from whyrank.cli.output import Format, format_options, write_frame
from whyrank.cli.sources import parse_sources, source_option
from whyrank.cli.study_options import open_study, study_options

__all__ = ["propose"]


@click.command()
@study_options
@source_option
@format_options
def propose(study: Path, workdir: Path | None, sources: str, format_: Format | None, output: Path | None) -> None:
    """Collect hypotheses, and estimate nothing."""
    chosen = parse_sources(sources)
    hypotheses = open_study(study, workdir).propose(sources=chosen)

    import pandas as pd

    columns = ["edge", "claimed_sign", "source", "round", "confidence", "mechanism", "confounders"]
    rows = [
        (str(h.edge), h.claimed_sign, h.source, h.round, h.confidence, h.mechanism, ", ".join(h.confounders))
        for h in hypotheses
    ]
    frame = pd.DataFrame(rows, columns=columns).astype({"confidence": float})
    if (format_ or "table") == "table" and output is None:
        frame = frame.drop(columns=["round", "confounders"])
    write_frame(frame, format_=format_, output=output)
    click.echo(f"{len(hypotheses)} hypotheses; next: whyrank validate {study}", err=True)
