"""The verdict table as a terminal shows it: legible at 100 columns, most telling rows first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whyrank.cli.output import plain

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["draw_verdicts", "sort_verdicts"]

_REASON = 96
"""Cells that a reason takes at most: about two lines."""

_STYLES = {
    "validated": "bold green",
    "refuted": "dark_orange",
    "inconclusive": "bright_black",
    "unidentifiable": "magenta",
}


_SOURCES = ("llm", "file", "discovery", "exhaustive")


def _proposer(source: str) -> str:
    """Say on a second line who proposed it; of several, the one that had to think of it."""
    return next((f"\n  by {name}" for name in _SOURCES if name in source), "")


def sort_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort by verdict, then by how far the effect is from zero in standard errors, then by name."""
    from whyrank.report.order import VERDICTS

    rank = frame["verdict"].map({name: i for i, name in enumerate(VERDICTS)})
    distance = -(frame["estimate"] / frame["se"]).abs().fillna(-1.0)
    order = frame.assign(_rank=rank, _distance=distance).sort_values(["_rank", "_distance", "edge"], kind="stable")
    return order.drop(columns=["_rank", "_distance"])


def draw_verdicts(frame: pd.DataFrame) -> Table:
    """Draw the columns that decide, with the first reason under each edge."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from whyrank.report.numbers import interval_text, q_text
    from whyrank.report.order import MARKS

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("verdict", no_wrap=True, width=16)
    table.add_column("edge, and why", overflow="fold", ratio=1)
    table.add_column("effect [95 % interval]", justify="right", no_wrap=True)
    table.add_column("q", justify="right", no_wrap=True)
    for row in frame.to_dict("records"):
        verdict = row["verdict"]
        reason = Text(plain(str(row["reasons"]).partition("; ")[0]), style="dim")
        reason.truncate(_REASON, overflow="ellipsis")
        cell = Table.grid()
        cell.add_column(overflow="fold")
        cell.add_row(Text(plain(row["edge"])))
        cell.add_row(reason)
        table.add_row(
            Text(f"{MARKS[verdict]} {verdict}", style=_STYLES[verdict]).append(_proposer(row["source"]), style="dim"),
            cell,
            Text(interval_text(row["estimate"], row["ci_low"], row["ci_high"], row["scale"])),
            Text(q_text(row["q_value"])),
        )
    return table
