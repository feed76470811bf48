"""Columns of the items that come from their texts: labels that a model or a person gave, and plain features."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whyrank.config import StudyConfig
from whyrank.datasets.entities import Entities
from whyrank.datasets.problems import Problems
from whyrank.datasets.study_data import Attribute
from whyrank.datasets.text_clean import item_texts, text_hash
from whyrank.datasets.text_features import text_features
from whyrank.datasets.text_labels import LABELS_FILE, LabelBook, read_labels
from whyrank.datasets.text_schema import SCHEMA_FILE, TextAttribute, TextSchema, read_schema

__all__ = ["add_text_columns", "labels_path", "schema_path"]

_FROM_TEXT = "read out of the texts"
_EMPTY = text_hash("")


def schema_path(config: StudyConfig) -> Path:
    """Return where `attributes.toml` of a study lies, or would lie."""
    return config.folder / SCHEMA_FILE


def labels_path(config: StudyConfig) -> Path:
    """Return where the labels of a study lie, or would lie."""
    return config.folder / LABELS_FILE


def add_text_columns(config: StudyConfig, items: Entities, problems: Problems) -> Entities:
    """Return the items with what their texts tell: the labels beside the study, and the features it asks for.

    A label counts as long as it is of the very text and definition; otherwise it is missing, and said so.
    """
    schema = read_schema(schema_path(config)) if schema_path(config).is_file() else TextSchema()
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
            columns[attribute.name] = _labelled(attribute, items, hashes, book, problems)
    for feature in text_features(texts, wanted):
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
            found = replace(found, role=spec.role, description=spec.description or found.description)
        frame[column] = values
        attributes[found.name] = found
    return replace(items, frame=frame, attributes=attributes)


def _labelled(
    attribute: TextAttribute, items: Entities, hashes: list[str], book: LabelBook, problems: Problems
) -> tuple[Attribute, Any]:
    levels = list(attribute.levels)
    codes = np.full(len(hashes), -1, np.int32)
    by: Counter[str] = Counter()
    waiting = 0
    for row, (item, text) in enumerate(zip(map(str, items.ids), hashes, strict=True)):
        label = book.current(item, attribute, text)
        if label is None:
            waiting += text != _EMPTY  # nothing can be read out of no text
        elif label.label:
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
