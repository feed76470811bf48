"""Files that appear whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

__all__ = ["replace_file", "to_csv", "to_parquet"]


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then put it in place in one step; a failure leaves what was there."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        part = Path(file.name)
        try:
            file.write(content)
            file.close()
            part.chmod(0o644)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def to_csv(table: pd.DataFrame) -> bytes:
    """Return the table as CSV, without its index."""
    plain = table.astype({name: str for name, kind in table.dtypes.items() if isinstance(kind, pd.CategoricalDtype)})
    sink = pa.BufferOutputStream()
    options = csv.WriteOptions(quoting_style="needed")
    csv.write_csv(pa.Table.from_pandas(plain, preserve_index=False), sink, options)
    return bytes(sink.getvalue())


def to_parquet(table: pd.DataFrame) -> bytes:
    """Return the table as Parquet, without its index."""
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pandas(table, preserve_index=False), sink, compression="zstd")
    return bytes(sink.getvalue())
