"""`whyrank effects`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from whyrank.cli.output import Format, chosen_format, format_options, plain, print_rich, write_frame, write_json
from whyrank.cli.study_options import open_study, study_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from rich.console import RenderableType

    from whyrank.effects import VaryingEffect, VaryingEffects

__all__ = ["effects"]

_SHOWN = 10


@click.command()
@study_options
@click.option("--edge", required=True, metavar="EDGE", help="The edge, without a modifier; [level] picks one level.")
@click.option("--user", "users", multiple=True, metavar="ID", help="Only this user; may be given again.")
@click.option(
    "--users-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="New users by their attributes: a table like the study's users.",
)
@click.option(
    "--show",
    type=click.Choice(["users", "modifiers", "test"]),
    default="users",
    show_default=True,
    help="Which table to write as csv, json or parquet; a terminal shows a bit of each.",
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the groups and the targeting curve: .svg or .html.",
)
@format_options
def effects(
    study: Path,
    workdir: Path | None,
    edge: str,
    users: tuple[str, ...],
    users_file: Path | None,
    show: Literal["users", "modifiers", "test"],
    figure: Path | None,
    format_: Format | None,
    output: Path | None,
) -> None:
    """Show how the effect of an edge varies between users.

    For each user an effect with its interval, from the user's attributes; along which attributes the effect differs;
    and whether predicted differences are found again in users not learned from. An edge need not be validated, but a
    warning says so.
    """
    if users and users_file:
        raise click.UsageError("give --user or --users-file, not both")
    asked: list[str] | pd.DataFrame | None = list(users) or None
    if users_file is not None:
        from whyrank.datasets.read_table import read_table

        asked = read_table(users_file)
    from rich.console import Console

    with open_study(study, workdir) as opened, Console(stderr=True).status("reading") as status:
        found = opened.effects(edge, users=asked, progress=status.update)
    if figure is not None:
        click.echo(f"figure: {found.figure(figure)}", err=True)
    if chosen_format(format_, output) == "table" and output is None:
        print_rich(*(part for result in found for part in _draw(result, bool(users or users_file))))
        return
    if show == "test" and chosen_format(format_, output) == "json":
        write_json([_test(result) for result in found], output)
        return
    write_frame(
        {"users": _users, "modifiers": _modifiers, "test": _groups}[show](found), format_=format_, output=output
    )


def _users(found: VaryingEffects) -> pd.DataFrame:
    return found.users


def _modifiers(found: VaryingEffects) -> pd.DataFrame:
    return found.modifiers


def _groups(found: VaryingEffects) -> pd.DataFrame:
    """The groups of every result, one below the other."""
    import pandas as pd

    return pd.concat([result.test.gates.assign(edge=result.edge) for result in found], ignore_index=True)


def _test(result: VaryingEffect) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "edge": result.edge,
        "verdict": result.verdict,
        "estimate": result.estimate,
        "chosen": result.chosen,
        "losses": result.losses,
        "gains": {name: {"estimate": gain, "se": se} for name, (gain, se) in result.gains.items()},
        **asdict(result.test),
        "toc": result.test.curve.to_dict("records"),
        "proposals": result.proposals,
    }


def _draw(result: VaryingEffect, every: bool) -> Iterator[RenderableType]:
    """Draw what was found, the groups, the modifiers, and the users with the largest and smallest effects."""
    from rich.text import Text

    from whyrank.report.numbers import interval_text, q_text

    yield Text(plain(result.summary()) + "\n")
    losses = ", ".join(f"{name} {loss:.6g}" for name, loss in result.losses.items())
    test = result.test
    yield Text(f"held-out loss: {losses}; kept: {result.chosen}", style="dim")
    yield Text(
        f"AUTOC {test.autoc.estimate:.3g} (p {q_text(test.autoc.p_value)}), "
        f"Qini {test.qini.estimate:.3g} (p {q_text(test.qini.p_value)}), over {test.users:,} users",
        style="dim",
    )

    def effect(row: Mapping[Any, Any], name: str = "effect") -> str:
        return interval_text(row[name], row["ci_low"], row["ci_high"], result.scale)

    groups = test.gates.to_dict("records")
    yield _table(["group by prediction", "effect [95 % interval]"], [[str(g["group"]), effect(g)] for g in groups])
    modifiers = result.modifiers.head(_SHOWN).to_dict("records")
    yield _table(
        ["effect differs along", "difference [95 % interval]", "p adjusted"],
        [
            [
                f"{m['modifier']}{'[' + m['level'] + ']' if m['level'] else ''}",
                effect(m, "difference"),
                q_text(m["p_adjusted"]),
            ]
            for m in modifiers
        ],
    )
    users = result.users
    if not every and result.chosen == "constant":
        return
    if not every and len(users) > 2 * _SHOWN:
        ordered = users.sort_values("effect", ascending=False, kind="stable")
        users = ordered.iloc[[*range(_SHOWN // 2), *range(-(_SHOWN // 2), 0)]]
    yield _table(["user", "effect [95 % interval]"], [[str(u["user_id"]), effect(u)] for u in users.to_dict("records")])


def _table(heads: list[str], rows: list[list[str]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, head in enumerate(heads):
        table.add_column(head, justify="right" if k else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table
