"""`attributes.toml`: the attributes that are read out of the items' texts, as people write and edit them."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from whyrank.errors import InputError, nearest

__all__ = ["SCHEMA_FILE", "LabelMethod", "TextAttribute", "TextSchema", "keep_edits", "read_schema", "write_schema"]

SCHEMA_FILE = "attributes.toml"
"""Name of the file, beside the study file."""

LabelMethod = Literal["auto", "votes", "likelihood", "similarity"]
"""How labels are found: chosen by what the server can do, by votes, by sequence likelihood, or by embeddings."""

_METHODS = ("auto", "votes", "likelihood", "similarity")
_NAME = re.compile(r"[^\W\d]\w*")
_MOST_LEVELS = 8
_LONGEST_LEVEL = 40
_SHOWN = 5


@dataclass(frozen=True)
class TextAttribute:
    """One attribute to be read out of a text.

    Attributes
    ----------
    name : without `items.`; letters, digits and underscores.
    definition : one sentence, shown to the model and in reports.
    levels : what each level means, by level; the order counts for an ordinal one, and the second of two is "more".
    ordinal : whether the levels go from low to high.
    use : False keeps it in the file without asking anybody about it.
    """

    name: str
    definition: str
    levels: Mapping[str, str]
    ordinal: bool = False
    use: bool = True

    @property
    def hash(self) -> str:
        """16 hexadecimal digits: labels made under another definition are made anew."""
        material = [self.name, self.definition, [*self.levels.items()]]
        return hashlib.sha256(json.dumps(material, ensure_ascii=False).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TextSchema:
    """What `attributes.toml` says.

    Attributes
    ----------
    attributes : those to be read out.
    votes : votes on each item and attribute, half of them with the options in reverse.
    agreement : a label with less is missing: the share of votes, or the probability, of the level that won.
    longest : Latin letters of an item's text that a model reads; Chinese ones count two and a half.
    method : how labels are found.
    """

    attributes: tuple[TextAttribute, ...] = ()
    votes: int = 4
    agreement: float = 0.75
    longest: int = 600
    method: LabelMethod = "auto"

    @property
    def used(self) -> tuple[TextAttribute, ...]:
        """The attributes that are in use."""
        return tuple(a for a in self.attributes if a.use)


@dataclass
class _Reader:
    """Collects what is wrong with a file, so that all of it is told at once."""

    label: str
    problems: list[str] = field(default_factory=list)

    def wrong(self, what: str) -> None:
        self.problems.append(f"{self.label}: {what}")

    def known(self, table: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
        for key in table:
            if key not in keys:
                self.wrong(f"unknown key {key!r}{where}{nearest(key, keys)}; the keys are {', '.join(keys)}")

    def value(self, table: Mapping[str, Any], key: str, kind: type, default: Any, expected: str, where: str) -> Any:
        value = table.get(key, default)
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and kind is not bool):
            self.wrong(f"{key!r}{where} must be {expected}, got {_shown(value)}")
            return default
        return value


def read_schema(path: Path) -> TextSchema:
    """Read and check an `attributes.toml`.

    Raises
    ------
    InputError
        If it can't be read or says something wrong; every problem is named, with the key and what was expected.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path.name} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not UTF-8 text; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path.name} is not valid TOML: {error}") from None
    reader = _Reader(path.name)
    schema = _schema(content, reader)
    if reader.problems:
        more = f"\nand {len(reader.problems) - _SHOWN} more" if len(reader.problems) > _SHOWN else ""
        raise InputError("\n".join(reader.problems[:_SHOWN]) + more)
    return schema


def _schema(content: Mapping[str, Any], reader: _Reader) -> TextSchema:
    reader.known(content, ("votes", "agreement", "longest", "method", "attributes"), "")
    votes = reader.value(content, "votes", int, 4, "an even number from 2 to 40", "")
    if not 2 <= votes <= 40 or votes % 2:
        reader.wrong(f"'votes' must be an even number from 2 to 40, for both orders of the options, got {votes}")
    agreement = float(reader.value(content, "agreement", float, 0.75, "a number over 0.5, up to 1", ""))
    if not 0.5 < agreement <= 1:
        reader.wrong(f"'agreement' must be over 0.5, up to 1, got {agreement:g}")
    longest = reader.value(content, "longest", int, 600, "a whole number from 40 to 20000", "")
    if not 40 <= longest <= 20_000:
        reader.wrong(f"'longest' must be a whole number from 40 to 20000, got {longest}")
    method = content.get("method", "auto")
    if method not in _METHODS:
        close = nearest(str(method), _METHODS)
        reader.wrong(f"'method' must be one of {', '.join(_METHODS)}, got {_shown(method)}{close}")
        method = "auto"
    tables = content.get("attributes", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        reader.wrong(f"'attributes' must be tables written [attributes.NAME], got {_shown(tables)}")
        tables = {}
    attributes = tuple(_attribute(name, table, reader) for name, table in tables.items())
    return TextSchema(attributes, votes, agreement, longest, method)


def _attribute(name: str, table: Mapping[str, Any], reader: _Reader) -> TextAttribute:
    where = f" in [attributes.{name}]"
    if not _NAME.fullmatch(name):
        reader.wrong(f"the attribute {name!r} must be letters, digits and underscores, and begin with a letter")
    reader.known(table, ("definition", "levels", "ordinal", "use"), where)
    definition = reader.value(table, "definition", str, "", "one sentence in quotes", where)
    if not definition.strip():
        reader.wrong(f"[attributes.{name}] needs a definition: one sentence that says what the attribute is")
    levels = table.get("levels", {})
    if isinstance(levels, list) and all(isinstance(level, str) for level in levels):
        levels = dict.fromkeys(levels, "")
    if not isinstance(levels, dict) or not all(isinstance(means, str) for means in levels.values()):
        reader.wrong(f"'levels'{where} must be a table of levels and what they mean, got {_shown(levels)}")
        levels = {}
    elif not 2 <= len(levels) <= _MOST_LEVELS:
        reader.wrong(f"'levels'{where} must be 2 to {_MOST_LEVELS} levels and what they mean, got {len(levels)}")
    for level in levels:
        if not level.strip() or len(level) > _LONGEST_LEVEL or not level.isprintable():
            reader.wrong(f"the level {_shown(level)}{where} must be a short text of up to {_LONGEST_LEVEL} letters")
        elif level.casefold() in ("unclear", "说不准"):
            reader.wrong(f"the level {level!r}{where} is what a model may always say; leave it out")
    return TextAttribute(
        name=name,
        definition=" ".join(definition.split()),
        levels={level: " ".join(means.split()) for level, means in levels.items()},
        ordinal=reader.value(table, "ordinal", bool, False, "true or false", where),
        use=reader.value(table, "use", bool, True, "true or false", where),
    )


def keep_edits(path: Path) -> None:
    """Refuse to go on if a schema is there already: what people wrote is theirs.

    Raises
    ------
    InputError
        If the file exists.
    """
    if path.exists():
        raise InputError(f"{str(path)!r} is there already and may hold your edits; --force replaces it")


def write_schema(
    schema: TextSchema, path: Path, *, texts: Sequence[str], notes: Mapping[str, str] | None = None, force: bool = False
) -> None:
    """Write an `attributes.toml` for people to edit.

    Parameters
    ----------
    texts
        Text columns, for the comment at its head.
    notes
        A comment over an attribute, by name.
    force
        Replace a file that is there.

    Raises
    ------
    InputError
        If the file exists and `force` is not given: what people wrote is theirs.
    """
    from whyrank.datasets.atomic import replace_file

    if not force:
        keep_edits(path)
    replace_file(path, ("\n".join(_lines(schema, texts, notes or {})) + "\n").encode())


def _lines(schema: TextSchema, texts: Sequence[str], notes: Mapping[str, str]) -> Iterator[str]:
    yield f"# Attributes of the items that a model reads out of their texts ({', '.join(texts)})."
    yield "# A proposal: change what you like, take out what is no use, add your own; then"
    yield "#   whyrank attributes STUDY --label"
    yield "# labels the items. An attribute whose definition or levels changed is labelled anew, the others are kept."
    yield ""
    yield f"votes = {schema.votes}          # on each item and attribute, half of them with the options in reverse"
    yield f"agreement = {schema.agreement:g}   # a label with less is a missing value, not a guess"
    yield f"longest = {schema.longest}      # letters of an item's text that are read"
    yield f'method = "{schema.method}"   # "auto", "votes", "likelihood" or "similarity"'
    for attribute in schema.attributes:
        yield ""
        if attribute.name in notes:
            yield f"# {_one_line(notes[attribute.name])}"
        yield f"[attributes.{_key(attribute.name)}]"
        yield f"definition = {_text(attribute.definition)}"
        if attribute.ordinal:
            yield "ordinal = true   # the levels go from low to high"
        if not attribute.use:
            yield "use = false"
        yield f"[attributes.{_key(attribute.name)}.levels]"
        for level, means in attribute.levels.items():
            yield f"{_key(level)} = {_text(means)}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(_one_line(text), ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
