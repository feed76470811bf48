"""Any table file as a frame of texts: what a user hands over beside the study."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from whyrank.datasets.infer import parse_numbers
from whyrank.datasets.tables import open_table, read_columns
from whyrank.errors import DataError, WhyRankWarning

__all__ = ["read_table"]


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, Parquet, DuckDB or SQLite table as the study's tables are read.

    Returns
    -------
    DataFrame
        A text per cell, None where it is missing; in a file with decimal commas, a column of numbers as floats.

    Raises
    ------
    DataError
        If the file cannot be read, has no rows, or a column stands twice or has no name.
    """
    with open_table(path) as source:
        if "" in source.columns:
            raise DataError(f"{source.label}: column {source.columns.index('') + 1} has no name")
        columns = read_columns(source, source.columns)
        for finding in source.findings:
            warnings.warn(finding.message, WhyRankWarning, stacklevel=2)
    frame = {}
    for name, column in columns.items():
        if not len(column):
            raise DataError(f"{source.label}: the table has no rows")
        numbers = parse_numbers(column.values, decimal_comma=source.decimal_comma)
        values = numbers.values if numbers.all and numbers.comma else column.values.to_pylist()
        cells = np.array([*values, None], dtype=object)[column.codes]
        frame[name] = pd.Series(cells, dtype=object)
    return pd.DataFrame(frame)
