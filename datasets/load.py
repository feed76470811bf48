"""One study, from its files to memory: read, check, type, sort."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whyrank.config import StudyConfig, load_config
from whyrank.datasets.checks import check_attribute, check_collinear, check_graph, is_constant
from whyrank.datasets.entities import Entities, load_entities
from whyrank.datasets.history import add_history
from whyrank.datasets.log import Log, load_log
from whyrank.datasets.problems import Problems
from whyrank.datasets.study_data import Attribute, Finding, StudyData
from whyrank.datasets.text_columns import add_text_columns, made_from_texts
from whyrank.errors import DataError

__all__ = ["check_study", "load_study"]


def load_study(path: str | Path) -> StudyData:
    """Read, check and type the tables of a study.

    Parameters
    ----------
    path
        The study file or its folder.

    Raises
    ------
    StudyFileError
        If the study file is wrong.
    DataError
        If a table cannot be used: the first problems, a line each.
    """
    config = load_config(path)
    problems = Problems()
    data = _load(config, problems)
    if data is None or problems.errors:
        raise DataError(problems.summary())
    return data


def check_study(path: str | Path) -> list[Finding]:
    """Return everything that is wrong or doubtful about a study: errors first, in the order they were met."""
    problems = Problems()
    with problems.catching("study-file"):
        _load(load_config(path), problems)
    return [*problems.errors, *problems.warnings]


def _load(config: StudyConfig, problems: Problems) -> StudyData | None:
    users = items = log = None
    with problems.catching("users"):
        users = load_entities(config, "users", problems)
    with problems.catching("items"):
        items = load_entities(config, "items", problems, made=made_from_texts(config))
        if items is not None:
            ids = [*([] if users is None else users.ids), *items.ids]
            items = add_text_columns(config, items, ids, problems)
    with problems.catching("events"):
        log = load_log(config, users, items, problems)
    if users is None or items is None or log is None:
        return None
    log = add_history(config, users, items, log, problems)
    attributes = _check_content(config, users, items, log, problems)
    if problems.errors:
        return None
    return StudyData(
        config=config,
        path=config.path,
        users=users.frame,
        items=items.frame,
        events=log.frame,
        user_ids=users.ids,
        item_ids=items.ids,
        attributes=attributes,
        outcomes=log.outcomes,
        texts=tuple(config.items.text),
        findings=tuple(problems.warnings),
        dropped=problems.dropped,
        fingerprint=_fingerprint(config, users, items, log),
    )


def _check_content(
    config: StudyConfig, users: Entities, items: Entities, log: Log, problems: Problems
) -> dict[str, Attribute]:
    """Check the typed tables, and return the attributes with the role that their content allows."""
    seen = {
        "users": users.frame[np.bincount(log.frame["user"], minlength=len(users.ids)) > 0],
        "items": items.frame[np.bincount(log.frame["item"], minlength=len(items.ids)) > 0],
        "events": log.frame,
    }
    units = {"users": "users in the log", "items": "items in the log", "events": "rows"}
    attributes: dict[str, Attribute] = {}
    for part in (users, items, log):
        varying = []
        for name, attribute in part.attributes.items():
            values = seen[attribute.table][attribute.column]
            where = f"{part.label}, column {attribute.column!r}"
            if is_constant(values, attribute):
                attribute = replace(attribute, role="ignore")
                problems.warn("constant", f"{where}: the same value throughout the log; it cannot be tested")
            elif name == _base_score(config):
                attribute = replace(attribute, role="ignore")
            elif attribute.role != "ignore":
                made = replace(attribute, missing=0) if attribute.follows else attribute  # the first row has no past
                check_attribute(values, made, where=where, unit=units[attribute.table], problems=problems)
                varying.append(attribute)
            attributes[name] = attribute
        if varying:
            check_collinear(seen[varying[0].table], varying, problems)
    for outcome in log.outcomes.values():
        if f"users.{outcome.column}" in attributes:
            problems.warn(
                "ambiguous-name",
                f"users.{outcome.column} is a column of {users.label}, not the user's total of {outcome.name}",
            )
    check_graph(
        config, list(attributes), list(log.outcomes), lambda name: _why_not(name, config, users, items, log), problems
    )
    return attributes


def _base_score(config: StudyConfig) -> str:
    """Name of the item attribute that the ranker takes as base score, which is no cause then."""
    return f"items.{config.ranker.base.removeprefix('items.')}"


def _why_not(name: str, config: StudyConfig, users: Entities, items: Entities, log: Log) -> str:
    table, column = name.split(".", 1)
    if table == "items" and column in config.items.text:
        return "it is a text column, and a text is never a cause itself"
    if table == "events" and column not in config.events.context:
        return "it is not listed in events.context"
    parts: dict[str, Entities | Log] = {"users": users, "items": items, "events": log}
    return parts[table].ignored.get(column, "")


def _fingerprint(config: StudyConfig, users: Entities, items: Entities, log: Log) -> str:
    digest = hashlib.sha256(json.dumps(config.meaning(), sort_keys=True).encode())
    for name, ids, frame in (
        ("users", users.ids, users.frame),
        ("items", items.ids, items.frame),
        ("events", np.empty(0, dtype=object), log.frame),
    ):
        digest.update(f"\n{name} {len(frame)}\n".encode())
        digest.update(json.dumps(ids.tolist()).encode())
        for column in frame.columns:
            digest.update(f"\n{json.dumps(column)}\n".encode())
            digest.update(_bytes(frame[column]))
    return digest.hexdigest()


def _bytes(values: pd.Series[Any]) -> bytes:
    """Return the content of a column as bytes that are the same on every machine."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return json.dumps(list(values.cat.categories)).encode() + values.cat.codes.to_numpy().astype("<i4").tobytes()
    if values.dtype == object:
        return json.dumps(values.tolist()).encode()
    array = values.to_numpy()
    if array.dtype.kind == "f":
        return np.where(np.isnan(array), np.nan, array).astype("<f8").tobytes()
    return array.astype("<i8").tobytes()
