"""A first study file, inferred from the tables in a folder."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from whyrank.config import (
    STUDY_FILE,
    AttributeConfig,
    EventsConfig,
    GraphConfig,
    ItemsConfig,
    LlmConfig,
    RankerConfig,
    StudySection,
    UsersConfig,
    ValidationConfig,
    load_config,
)
from whyrank.datasets.survey import Survey, Surveyed, survey_folder
from whyrank.errors import StudyFileError

__all__ = ["infer_study", "write_study"]

_PAD = 36


def infer_study(folder: str | Path) -> str:
    """Return the text of a commented `whyrank.toml` for the tables in `folder`.

    Raises
    ------
    DataError
        If no users, items and events can be made out there.
    """
    folder = Path(folder)
    survey = survey_folder(folder)
    return "\n".join([*_head(survey, folder), *_tables(survey), *_attributes(survey), *_tail(survey)]) + "\n"


def write_study(folder: str | Path, *, force: bool = False) -> Path:
    """Write the inferred study file into `folder` and return its path; the file appears whole or not at all.

    Raises
    ------
    StudyFileError
        If there is a study file already, and `force` is not given, or the folder cannot be written to.
    DataError
        If no users, items and events can be made out there.
    """
    folder = Path(folder)
    target = folder / STUDY_FILE
    if target.exists() and not force:
        raise StudyFileError(f"{target} exists already; `--force` overwrites it")
    text = infer_study(folder)
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".whyrank-", encoding="utf-8", delete=False) as file:
            temporary = Path(file.name)
            file.write(text)
        temporary.chmod(0o644)
        load_config(temporary)
        temporary.replace(target)
    except OSError as error:
        raise StudyFileError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return target


def _quoted(text: str) -> str:
    """Write a text as a TOML string, on one line."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").replace("\u2028", "\\u2028")


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(value)


def _line(model: type[BaseModel], key: str, value: object, why: str = "", *, active: bool = True) -> str:
    """Write one key with what it means and where its value comes from; an inactive one is commented out."""
    meaning = model.model_fields[key].description or ""
    said = f"{meaning}; {why}" if why else meaning
    return f"{'' if active else '# '}{key} = {_value(value)}".ljust(_PAD) + f"  # {said}"


def _head(survey: Survey, folder: Path) -> Iterator[str]:
    yield "# A WhyRank study, inferred from the tables in this folder. Read it through and correct it:"
    yield "# `whyrank check` says what is wrong or doubtful, `whyrank run` starts."
    for remark in survey.remarks:
        yield f"# Please look: {_quoted(remark)[1:-1]}"
    yield ""
    yield "[study]"
    yield _line(StudySection, "name", folder.resolve().name or "study", "the folder's name")
    yield _line(StudySection, "seed", 7)
    yield _line(StudySection, "language", survey.language, "from the texts")


def _tables(survey: Survey) -> Iterator[str]:
    yield from ("", "[users]")
    yield from _file(UsersConfig, survey.users)
    yield _line(UsersConfig, "key", survey.users_key, "a different value in every row")
    yield _line(UsersConfig, "unit", "user", active=False)
    yield from ("", "[items]")
    yield from _file(ItemsConfig, survey.items)
    yield _line(ItemsConfig, "key", survey.items_key, "a different value in every row")
    yield _optional(ItemsConfig, "text", survey.text, ["title"], "long or almost all different")
    yield _optional(ItemsConfig, "available_from", survey.available_from, "listed", "dates")
    yield _optional(ItemsConfig, "available_to", survey.available_to, "delisted", "dates")
    yield from ("", "[events]")
    yield from _file(EventsConfig, survey.events)
    yield _line(EventsConfig, "user", survey.events_user, f"its values are keys in {survey.users.label}")
    yield _line(EventsConfig, "item", survey.events_item, f"its values are keys in {survey.items.label}")
    yield _optional(EventsConfig, "time", survey.time, "ts", "dates or a time's name")
    yield _optional(EventsConfig, "outcomes", survey.outcomes, ["purchase"], "from names and values")
    yield _optional(EventsConfig, "context", survey.context, ["position"], "the other columns that vary")
    yield _line(EventsConfig, "history", ["items.category"], active=False)
    yield _optional(EventsConfig, "propensity", survey.propensity, "propensity", "its name, and values in (0, 1]")
    yield _line(EventsConfig, "propensity_kind", "logged", active=False)
    yield _optional(EventsConfig, "randomised", survey.randomised, "is_random", "its name, and values 0/1")
    yield _line(EventsConfig, "kind", survey.kind, active=survey.kind != "exposures")


def _file(model: type[BaseModel], table: Surveyed) -> Iterator[str]:
    yield _line(model, "path", table.path.name, f"{len(table.columns)} columns")
    if table.table is not None:
        yield _line(model, "table", table.table)


def _optional(model: type[BaseModel], key: str, value: object, example: object, why: str) -> str:
    return _line(model, key, value, why) if value else _line(model, key, example, active=False)


def _attributes(survey: Survey) -> Iterator[str]:
    yield ""
    yield "# Attributes: every kind below is what would be inferred anyway; change what is wrong, delete what is right."
    for key, value in (
        ("kind", "ordinal"),
        ("levels", ["low", "high"]),
        ("role", "any"),
        ("reference", "…"),
        ("description", "…"),
    ):
        yield _line(AttributeConfig, key, value, active=False)
    special = (survey.items_key, *survey.text, survey.available_from, survey.available_to)
    columns = [("users", survey.users, n) for n in survey.users.columns if n != survey.users_key]
    columns += [("items", survey.items, n) for n in survey.items.columns if n not in special]
    columns += [("events", survey.events, n) for n in survey.context]
    for table, source, name in columns:
        guess = source.guess(name)
        header = f"[attributes.{_quoted(f'{table}.{name}')}]"
        if guess.kind is None:
            yield from ("", f"# {header} is no attribute: {guess.why}")
        elif guess.kind == "numeric" and guess.why != "numbers":
            yield from ("", f"# {header} is read as numeric: {guess.why}; the others count as missing")
        else:
            yield from (
                "",
                header,
                f'kind = "{guess.kind}"'.ljust(_PAD) + f"  # inferred from {_evidence(source, name)}",
            )
            if guess.kind == "set":
                yield _line(AttributeConfig, "sep", "|")


def _evidence(source: Surveyed, name: str) -> str:
    """Describe a column's values: its levels, or its range."""
    values = source.columns[name].values
    shown = ", ".join(_quoted(text[:30]) for text in source.columns[name].sorted().values[:4].to_pylist())
    return f"{len(values)} distinct values: {shown}{', ...' if len(values) > 4 else ''}"


def _tail(survey: Survey) -> Iterator[str]:
    outcome = f"events.{survey.outcomes[0]}" if survey.outcomes else "events.purchase"
    yield from ("", "[graph]")
    yield _line(GraphConfig, "edges", ["items.brand -> items.price"], active=False)
    yield _line(GraphConfig, "forbidden", ["items.price -> items.brand"], active=False)
    yield _line(GraphConfig, "unmeasured", [f"items.quality -> items.price, {outcome}"], active=False)
    for section, model in (("llm", LlmConfig), ("validation", ValidationConfig), ("ranker", RankerConfig)):
        yield from ("", f"[{section}]")
        for key, info in model.model_fields.items():
            yield _line(model, key, info.default, active=False)
