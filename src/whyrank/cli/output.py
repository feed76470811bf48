"""Tables out: to stdout or, in one step, to a file."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

from whyrank.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

__all__ = [
    "Format", "chosen_format", "format_options", "json_ready", "plain", "print_rich", "write_frame", "write_json",
]  # fmt: skip

Format = Literal["table", "csv", "json", "parquet"]
"""How a table is written."""

_FORMATS: tuple[Format, ...] = ("table", "csv", "json", "parquet")
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
_TABLE_ROWS = 500
_CHUNK = 10_000
_F = TypeVar("_F", bound=Callable[..., Any])


def format_options(command: _F) -> _F:
    """Add the options `--format` and `--output`."""
    command = click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write to FILE, not to stdout.",
    )(command)
    return click.option(
        "--format",
        "format_",
        type=click.Choice(_FORMATS),
        help="How to write it. [default: by the ending of --output, else table]",
    )(command)


def chosen_format(format_: Format | None, output: Path | None) -> Format:
    """Return how a table is written: as asked, else by the ending of the file, else as a table."""
    return format_ or (_SUFFIXES.get(output.suffix.lower(), "table") if output else "table")


def plain(text: object) -> str:
    r"""Return `text` on one line, without the control characters that a terminal would obey.

    Examples
    --------
    >>> plain("a\x1b[31mb")
    'a�[31mb'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in str(text))


def print_rich(*renderables: RenderableType) -> None:
    """Print to stdout, 100 columns wide where that is no terminal."""
    from rich.console import Console

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100, soft_wrap=False)
    for renderable in renderables:
        console.print(renderable, markup=False, highlight=False)


def json_ready(value: Any) -> Any:
    """Return `value` made of what JSON has: NaN, NaT and infinities are null, times are ISO 8601.

    Examples
    --------
    >>> json_ready({"a": float("nan"), "b": (1, "x")})
    {'a': None, 'b': [1, 'x']}
    """
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return json_ready(value.item())
    if hasattr(value, "tolist"):
        return json_ready(value.tolist())
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return None if text in ("NaT", "<NA>") else text


def write_json(value: object, output: Path | None = None) -> None:
    """Write one JSON object."""
    text = json.dumps(json_ready(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    _write(text.encode("utf-8", errors="replace"), output)


def write_frame(
    frame: pd.DataFrame,
    *,
    format_: Format | None,
    output: Path | None,
    table: Callable[[pd.DataFrame], RenderableType] | None = None,
) -> None:
    """Write `frame` to stdout or to `output`, which is replaced in one step.

    Parameters
    ----------
    frame : the data.
    format_ : None takes the format from the ending of `output`, else "table".
    output : None is stdout.
    table : draws the frame for "table"; by default one column each.

    Raises
    ------
    InputError
        If the file cannot be written, or Parquet would go to a terminal.
    """
    chosen = chosen_format(format_, output)
    if chosen == "table" and output is None:
        print_rich((table or _plain_table)(frame.head(_TABLE_ROWS)))
        if len(frame) > _TABLE_ROWS:
            click.echo(f"the first {_TABLE_ROWS} of {len(frame):,} rows; --format csv writes all", err=True)
        return
    if chosen == "parquet" and output is None and sys.stdout.isatty():
        raise InputError("Parquet is not for a terminal: give --output FILE, or send stdout to a file")
    _write(_bytes(frame, chosen, table or _plain_table), output)


def _bytes(frame: pd.DataFrame, chosen: Format, table: Callable[[pd.DataFrame], RenderableType]) -> bytes:
    if chosen == "csv":
        return frame.to_csv(index=False, lineterminator="\n").encode("utf-8", errors="replace")
    if chosen == "json":
        lines = ",\n".join(_records(frame))
        return (f"[\n{lines}\n]\n" if lines else "[]\n").encode("utf-8", errors="replace")
    if chosen == "parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        return buffer.getvalue()
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=100).print(table(frame), markup=False, highlight=False)
    return text.getvalue().encode("utf-8", errors="replace")


def _records(frame: pd.DataFrame) -> Iterator[str]:
    names = [str(name) for name in frame.columns]
    for start in range(0, len(frame), _CHUNK):
        part = frame.iloc[start : start + _CHUNK]
        columns = [part.iloc[:, i].astype(object).tolist() for i in range(len(names))]
        for values in zip(*columns, strict=True):
            record = json_ready(dict(zip(names, values, strict=True)))
            yield json.dumps(record, ensure_ascii=False, allow_nan=False)


def _plain_table(frame: pd.DataFrame) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in frame.columns:
        numeric = frame[name].dtype.kind in "fiu"
        table.add_column(Text(plain(name)), justify="right" if numeric else "left", overflow="fold")
    for values in frame.itertuples(index=False):
        table.add_row(*(Text(_cell(value)) for value in values))
    return table


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return plain(value)


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.flush()
        stream = cast("io.BufferedIOBase", getattr(sys.stdout, "buffer", None))
        stream.write(content)
        stream.flush()
        return
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(output)
    except OSError as error:
        raise InputError(f"cannot write {str(output)!r}: {error.strerror or error}") from error
    finally:
        if name:
            Path(name).unlink(missing_ok=True)
