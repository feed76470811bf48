"""Columns of the items that come from their texts: labels that a model or a person gave, and plain features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whyrank.config import AttributeConfig, StudyConfig
from whyrank.datasets.entities import Entities
from whyrank.datasets.problems import Problems
from whyrank.datasets.study_data import Attribute
from whyrank.datasets.text_clean import IdMask, item_texts, text_hash
from whyrank.datasets.text_features import text_features
from whyrank.datasets.text_labels import LABELS_FILE, LabelBook, read_labels
from whyrank.datasets.text_schema import SCHEMA_FILE, TextAttribute, TextSchema, read_schema
from whyrank.errors import DataError, nearest

__all__ = ["add_text_columns", "labels_path", "made_from_texts", "schema_path"]

_FROM_TEXT = "read out of the texts"
_EMPTY = text_hash("")


def schema_path(config: StudyConfig) -> Path:
    """Return where `attributes.toml` of a study lies, or would lie."""
    return config.folder / SCHEMA_FILE


def labels_path(config: StudyConfig) -> Path:
    """Return where the labels of a study lie, or would lie."""
    return config.folder / LABELS_FILE


def made_from_texts(config: StudyConfig) -> Callable[[str], bool]:
    """Return what tells whether a column of the items may come from their texts: read out of them, or a feature.

    `attributes.toml` is read once, and only if a column has to be looked up there.
    """
    schema = cache(lambda: _schema(config))
    return lambda column: _is_feature(config, column) or column in (a.name for a in schema().used)


def _is_feature(config: StudyConfig, column: str) -> bool:
    return bool(config.items.text_features) and column.startswith(("text_", "topic_"))


def _schema(config: StudyConfig) -> TextSchema:
    return read_schema(schema_path(config)) if schema_path(config).is_file() else TextSchema()


def add_text_columns(config: StudyConfig, items: Entities, ids: Iterable[object], problems: Problems) -> Entities:
    """Return the items with what their texts tell: the labels beside the study, and the features it asks for.

    A label counts as long as it is of the very text and definition, and as sure as `attributes.toml` asks for;
    otherwise it is missing, and said so.

    Parameters
    ----------
    ids : of users and items; no keyword or theme is made of one.
    """
    schema = _schema(config)
    wanted = config.items.text_features
    if not schema.used and not wanted:
        return items
    if not config.items.text:
        problems.error("no-texts", f"{items.label}: there are no text columns: name them as `text` under [items]")
        return items
    texts = item_texts(items.frame, list(config.items.text))
    columns: dict[str, tuple[Attribute, Any]] = {}
    if schema.used:
        book = read_labels(labels_path(config))
        hashes = [text_hash(text) for text in texts]
        for attribute in schema.used:
            columns[attribute.name] = _labelled(attribute, schema.agreement, items, hashes, book, problems)
    plain = IdMask(ids).all(texts, items.ids) if wanted else texts
    for feature in text_features(plain, wanted):
        values = feature.values
        levels = ("0", "1") if feature.binary else ()
        columns[feature.name] = (
            Attribute(
                name=f"items.{feature.name}",
                kind="binary" if feature.binary else "numeric",
                levels=levels,
                reference="0" if feature.binary else "",
                description=feature.description,
                missing=int(np.isnan(values).sum()),
            ),
            values,
        )
    frame, attributes = items.frame.copy(deep=False), dict(items.attributes)
    for column, (found, values) in columns.items():
        if column in frame.columns or column in items.ignored:
            problems.error("text-column", f"{items.label} has a column {column!r} already; rename the one from texts")
            continue
        spec = config.attributes.get(found.name)
        if spec is not None:
            with problems.catching("attribute"):
                found, values = _as_said(found, values, spec)
        frame[column] = values
        attributes[found.name] = found
    for name in config.attributes:  # a schema's own attributes are columns by now
        column = name.removeprefix("items.")
        if name.startswith("items.") and _is_feature(config, column) and column not in frame.columns:
            problems.error(
                "missing-column",
                f"no feature of the texts is called {column!r}{nearest(column, columns)}, which "
                f'[attributes."{name}"] names',
            )
    return replace(items, frame=frame, attributes=attributes)


def _as_said(found: Attribute, values: Any, spec: AttributeConfig) -> tuple[Attribute, Any]:
    """The attribute with what the study file says about it: role, description and reference."""
    if spec.kind not in (None, found.kind):
        raise DataError(f"{found.name} comes from the texts and is {found.kind}, got kind = {spec.kind!r}")
    found = replace(found, role=spec.role, description=spec.description or found.description)
    if spec.reference in (None, found.reference):
        return found, values
    if spec.reference not in found.levels:
        raise DataError(
            f"{found.name}: the reference {spec.reference!r} is not one of its levels, {', '.join(found.levels)}"
        )
    if found.kind == "binary":
        return replace(found, levels=found.levels[::-1], reference=spec.reference), 1.0 - values
    return replace(found, reference=spec.reference), values


def _labelled(
    attribute: TextAttribute,
    agreement: float,
    items: Entities,
    hashes: list[str],
    book: LabelBook,
    problems: Problems,
) -> tuple[Attribute, Any]:
    levels = list(attribute.levels)
    codes = np.full(len(hashes), -1, np.int32)
    by: Counter[str] = Counter()
    waiting = 0
    for row, (item, text) in enumerate(zip(map(str, items.ids), hashes, strict=True)):
        label = book.current(item, attribute, text)
        if label is None:
            waiting += text != _EMPTY  # nothing can be read out of no text
        elif label.level(agreement):
            codes[row] = levels.index(label.label)
            by[label.by] += 1
    if waiting:
        problems.warn(
            "unlabelled",
            f"{SCHEMA_FILE}, {attribute.name!r}: {waiting} of {len(hashes)} items aren't labelled for their text and "
            "definition as they are now: whyrank attributes STUDY --label",
        )
    how = ", ".join(f"{count} by {name}" for name, count in sorted(by.items()))
    described = f"{attribute.definition.rstrip('.。')} ({_FROM_TEXT}{f': {how}' if how else ''})"
    missing = int((codes < 0).sum())
    if len(levels) == 2:
        values: Any = np.where(codes < 0, np.nan, codes).astype(np.float64)
        kind: Any = "binary"
        reference = levels[0]
    else:
        kind = "ordinal" if attribute.ordinal else "categorical"
        if kind == "categorical":  # as elsewhere: in sort order, the most frequent one is the reference
            order = sorted(levels)
            place = np.array([order.index(level) for level in levels] + [-1], np.int32)
            levels, codes = order, place[codes]
        counts = np.bincount(codes[codes >= 0], minlength=len(levels))
        reference = levels[int(counts.argmax())]
        values = pd.Categorical.from_codes(codes, categories=pd.Index(levels, dtype=object), ordered=kind == "ordinal")
    return (
        Attribute(
            name=f"items.{attribute.name}",
            kind=kind,
            levels=tuple(levels),
            reference=reference,
            description=described,
            missing=missing,
        ),
        values,
    )
