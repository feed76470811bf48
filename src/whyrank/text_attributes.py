"""Attributes from texts in one study: propose a schema, label the items, tell how it stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from whyrank.agents.client import Client, Progress, Usage
from whyrank.agents.labels import Labelled, label_items
from whyrank.agents.text_attributes import ProposedSchema, propose_schema
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.text_clean import item_texts, text_hash
from whyrank.datasets.text_columns import labels_path, schema_path
from whyrank.datasets.text_labels import read_labels, write_labels
from whyrank.datasets.text_schema import TextSchema, keep_edits, read_schema, write_schema
from whyrank.errors import InputError

__all__ = ["TextReport", "label_study", "propose_text_attributes", "text_table"]


@dataclass(frozen=True)
class TextReport:
    """What was done: attributes proposed, labels made, by which method, at what cost."""

    proposed: int = 0
    unusable: int = 0
    labelled: int = 0
    method: str = ""
    usage: Usage | None = None


def propose_text_attributes(
    data: StudyData, client: Client, *, force: bool = False, progress: Progress | None = None
) -> TextReport:
    """Have a model read the texts and write `attributes.toml` beside the study, for people to edit.

    Raises
    ------
    InputError
        If the file is there already and `force` is false, or nothing usable was proposed.
    """
    path = schema_path(data.config)
    if not force:
        keep_edits(path)  # before a model is asked
    found: ProposedSchema = propose_schema(data, client, seed=data.config.study.seed, progress=progress)
    if not found.schema.attributes:
        raise InputError(
            f"the model {client.backend.model!r} proposed nothing usable in {found.usage.questions} answers: write "
            f"{path.name} by hand (docs/texts.md shows how), or ask a larger model"
        )
    write_schema(found.schema, path, texts=list(data.texts), force=force)
    return TextReport(len(found.schema.attributes), found.unusable, usage=found.usage)


def label_study(
    data: StudyData, client: Client, *, again: bool = False, progress: Progress | None = None
) -> TextReport:
    """Label the items that need it, or all of them `again`, and write the labels beside the study.

    What a person wrote stays as it is.

    Raises
    ------
    InputError
        If there is no `attributes.toml`, or nothing in it to label.
    """
    schema = _schema(data)
    book = read_labels(labels_path(data.config))
    done: Labelled = label_items(data, schema, book, client, again=again, progress=progress)
    if done.new:
        names = [attribute.name for attribute in schema.attributes]
        write_labels(done.book, labels_path(data.config), items=[str(i) for i in data.item_ids], attributes=names)
    return TextReport(labelled=done.new, method=done.method, usage=done.usage)


def text_table(data: StudyData) -> pd.DataFrame:
    """Return one row a level of each attribute from texts: items with it, and how sure the labels are.

    Columns: attribute, level, items, agreement (mean, NaN without labels), by; the level "" is a missing label, or an
    item without a text, and "(to do)" one that waits for its label.
    """
    schema = _schema(data)
    book = read_labels(labels_path(data.config))
    hashes = [text_hash(text) for text in item_texts(data.items, list(data.texts))]
    nothing = text_hash("")
    rows = []
    for attribute in schema.used:
        found = [book.current(str(item), attribute, hashed) for item, hashed in zip(data.item_ids, hashes, strict=True)]
        for level in (*attribute.levels, "", "(to do)"):
            mine = [
                one
                for one, hashed in zip(found, hashes, strict=True)
                if (one.level(schema.agreement) if one is not None else "" if hashed == nothing else "(to do)") == level
            ]
            sure = [one.agreement for one in mine if one is not None]
            by = Counter(one.by for one in mine if one is not None)
            rows.append(
                (
                    attribute.name,
                    level,
                    len(mine),
                    round(sum(sure) / len(sure), 3) if sure else float("nan"),
                    ", ".join(sorted(by)),
                )
            )
    return pd.DataFrame(rows, columns=["attribute", "level", "items", "agreement", "by"])


def _schema(data: StudyData) -> TextSchema:
    path = schema_path(data.config)
    if not path.is_file():
        raise InputError(f"there is no {str(path)!r}: `whyrank attributes STUDY --propose` has a model write one")
    schema = read_schema(path)
    if not schema.used:
        raise InputError(f"{path.name} names no attribute to read out of the texts")
    if not data.texts:
        raise InputError("there are no texts to read: name text columns as `text` under [items]")
    return schema
