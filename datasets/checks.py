"""What is doubtful about a study once it is typed: constants, small arms, many levels, columns that say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.config import StudyConfig
from whyrank.datasets.problems import Problems
from whyrank.datasets.study_data import Attribute
from whyrank.errors import nearest

__all__ = ["MANY_LEVELS", "SMALL_ARM", "check_attribute", "check_collinear", "check_graph", "is_constant"]

SMALL_ARM = 10
"""An arm with fewer rows of its table than this can hardly carry a verdict."""
MANY_LEVELS = 50
"""A category with more levels than this is warned about."""
_SHOWN = 5


def is_constant(values: pd.Series[Any], attribute: Attribute) -> bool:
    """Tell whether an attribute has the same value wherever it has one."""
    if attribute.kind == "set":
        return not attribute.levels or all(len(c) == 0 or len(c) == len(values) for c in _set_rows(values).values())
    return values.nunique(dropna=True) <= 1


def check_attribute(values: pd.Series[Any], attribute: Attribute, *, where: str, unit: str, problems: Problems) -> None:
    """Warn about missing values, many levels, and arms with a handful of rows.

    Parameters
    ----------
    values
        The attribute in the rows that count: users and items that occur in the log, or exposures.
    where
        How messages name file and column.
    unit
        What a row is, in the plural.
    """
    if attribute.missing:
        problems.warn("missing-values", f"{where}: {attribute.missing:,} values are missing")
    if attribute.kind == "numeric":
        return
    if attribute.kind == "set":
        counts = {level: len(rows) for level, rows in _set_rows(values).items()}
    elif attribute.kind == "binary":
        ones, known = float(values.sum()), int(values.notna().sum())
        counts = dict(zip(attribute.levels, (known - round(ones), round(ones)), strict=True))
    else:
        counts = {str(level): int(count) for level, count in values.value_counts(sort=False).items()}
    if len(counts) > MANY_LEVELS:
        problems.warn("many-levels", f"{where}: {len(counts):,} levels; most will be too rare for a verdict")
    small = sorted((count, level) for level, count in counts.items() if count < SMALL_ARM)
    if small:
        shown = ", ".join(f"{level!r} ({count})" for count, level in small[:_SHOWN])
        more = f" and {len(small) - _SHOWN} more" if len(small) > _SHOWN else ""
        problems.warn("small-arm", f"{where}: fewer than {SMALL_ARM} {unit} carry {shown}{more}")


def _set_rows(values: pd.Series[Any]) -> dict[str, npt.NDArray[np.int64]]:
    exploded = pd.Series(values.to_numpy(), dtype=object).explode().dropna()
    groups = exploded.groupby(exploded).indices
    return {str(level): np.asarray(rows, np.int64) for level, rows in groups.items()}


def check_collinear(frame: pd.DataFrame, attributes: list[Attribute], problems: Problems) -> None:
    """Warn about attributes of one table that cannot be told apart: the same groups, or a linear combination.

    Parameters
    ----------
    frame
        The table's rows that count.
    attributes
        Its attributes that vary.
    """
    groups: dict[bytes, str] = {}
    for attribute in attributes:
        if attribute.kind in ("categorical", "ordinal", "binary"):
            codes, _ = pd.factorize(frame[attribute.column])
            twin = groups.setdefault(codes.astype(np.int32).tobytes(), attribute.name)
            if twin != attribute.name:
                problems.warn(
                    "collinear",
                    f"{twin} and {attribute.name} split the rows in the same way; their effects cannot be told apart",
                )
    linear = [a for a in attributes if a.kind in ("numeric", "binary")]
    same = set(groups.values())
    names = [a.name for a in linear if a.kind == "numeric" or a.name in same]
    columns = {a.name: frame[a.column].to_numpy(dtype=np.float64) for a in linear if a.name in names}
    for name, others in _dependent(columns):
        if len(others) == 1:
            said = f"{others[0]} and {name} are perfectly collinear"
        else:
            said = f"{name} is a linear combination of {', '.join(others)}"
        problems.warn("collinear", f"{said}; their effects cannot be told apart")


def _dependent(columns: dict[str, npt.NDArray[np.float64]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each column that is a linear combination of earlier ones and a constant, with those it takes."""
    names: list[str] = []
    basis: list[npt.NDArray[np.float64]] = []
    for name, raw in columns.items():
        centred = np.where(np.isnan(raw), 0.0, raw - np.nanmean(raw))
        norm = float(np.sqrt(centred @ centred))
        if norm == 0 or len(names) >= len(raw) - 1:
            continue
        column = centred / norm
        rest = column
        for direction in basis:
            rest = rest - (direction @ rest) * direction
        size = float(np.sqrt(rest @ rest))
        if size > 1e-7:
            basis.append(rest / size)
            names.append(name)
            continue
        earlier = np.column_stack([_unit(columns[other]) for other in names])
        share = np.linalg.lstsq(earlier, column, rcond=None)[0]
        yield name, [other for other, s in zip(names, share, strict=True) if abs(s) > 1e-6]


def _unit(raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred = np.where(np.isnan(raw), 0.0, raw - np.nanmean(raw))
    unit: npt.NDArray[np.float64] = centred / np.sqrt(centred @ centred)
    return unit


def check_graph(
    config: StudyConfig, known: list[str], outcomes: list[str], why_not: Callable[[str], str], problems: Problems
) -> None:
    """Report names in [graph] that are no attribute, context, outcome or a user's total of an outcome.

    Parameters
    ----------
    why_not
        Returns why a column is no attribute, or an empty string.
    """
    names = [*known, *outcomes, *(f"users.{name.removeprefix('events.')}" for name in outcomes)]
    graph = config.graph
    used = [
        (f"graph.{key}", name)
        for key in ("edges", "forbidden")
        for e in getattr(graph, key)
        for name in (e.cause, e.effect)
    ]
    used += [("graph.unmeasured", target) for cause in graph.unmeasured for target in cause.targets]
    for key, name in dict.fromkeys(used):
        if name not in names:
            reason = why_not(name)
            said = f": {reason}" if reason else nearest(name, names)
            problems.error(
                "unknown-name", f"{config.path.name}: {key} names {name!r}, which the study doesn't have{said}"
            )
    for cause in graph.unmeasured:
        if cause.name in names:
            problems.error(
                "measured",
                f"{config.path.name}: graph.unmeasured names {cause.name!r}, which is measured; use graph.edges",
            )
