"""Small flat answer schemas, built from the study's own names so that a variable cannot be invented."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

__all__ = ["Answer", "AnswerSchema", "Schema", "answer_model", "answered", "json_schema"]

A_co = TypeVar("A_co", bound=BaseModel, covariant=True)


class Schema(Protocol[A_co]):
    """What an answer must be: a Pydantic model's class, or an `AnswerSchema`."""

    def model_validate(self, obj: Any, /) -> A_co:
        """Return the answer, or raise `pydantic.ValidationError`."""

    def model_validate_json(self, json_data: str, /) -> A_co:
        """Return the answer that a JSON text holds, or raise `pydantic.ValidationError`."""


class Answer(RootModel[dict[str, str]]):
    """A flat answer: a word or a text under each name."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class AnswerSchema:
    """One required property per field: one of the given words, or free text where there is None; nothing else.

    Thousands of them cost little, which thousands of Pydantic classes don't.
    """

    fields: tuple[tuple[str, tuple[str, ...] | None], ...]

    def model_validate(self, obj: Any, /) -> Answer:
        """Return the answer.

        Raises
        ------
        pydantic.ValidationError
            If it isn't one; only the first thing that is wrong is told.
        """
        wrong = next(self._errors(obj), None)
        if wrong is not None:
            raise ValidationError.from_exception_data("Answer", [wrong])
        return Answer.model_construct({name: obj[name] for name, _ in self.fields})

    def model_validate_json(self, json_data: str, /) -> Answer:
        """Return the answer that a JSON text holds; raises like `model_validate`."""
        try:
            value = json.loads(json_data)
        except (ValueError, RecursionError) as error:
            kind = PydanticCustomError("json_invalid", "Invalid JSON: {error}", {"error": str(error)})
            raise ValidationError.from_exception_data("Answer", [{"type": kind, "input": json_data}]) from None
        return self.model_validate(value)

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema, as a server is told it."""
        properties = {name: _property(words) for name, words in self.fields}
        return {
            "additionalProperties": False,
            "properties": properties,
            "required": list(properties),
            "type": "object",
        }

    def _errors(self, value: Any) -> Iterator[InitErrorDetails]:
        if not isinstance(value, dict):
            yield {"type": "dict_type", "loc": (), "input": value}
            return
        for name, words in self.fields:
            if name not in value:
                yield {"type": "missing", "loc": (name,), "input": value}
            elif words is not None and value[name] not in words:
                context = {"expected": _listed(words)}
                yield {"type": "literal_error", "loc": (name,), "input": value[name], "ctx": context}
            elif not isinstance(value[name], str):
                yield {"type": "string_type", "loc": (name,), "input": value[name]}
        names = {name for name, _ in self.fields}
        for name in value:
            if name not in names:
                yield {"type": "extra_forbidden", "loc": (name,), "input": value[name]}


def answer_model(fields: Mapping[str, Sequence[str] | None]) -> AnswerSchema:
    """Return a schema with one required property per entry: one of the given words, or free text where None is given.

    Property names are used as they are, dots included; nothing else is accepted.

    Examples
    --------
    >>> effects = answer_model({"items.price": ["raises", "lowers"], "why": None})
    >>> answered(effects.model_validate({"items.price": "lowers", "why": "it costs more"}))
    {'items.price': 'lowers', 'why': 'it costs more'}
    """
    return AnswerSchema(tuple((name, None if words is None else tuple(words)) for name, words in fields.items()))


def answered(answer: BaseModel) -> dict[str, str]:
    """Return an answer as a plain dictionary under its properties' own names."""
    return answer.model_dump(by_alias=True)


def json_schema(schema: Schema[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema without titles, which only cost tokens and compile time."""
    if isinstance(schema, AnswerSchema):
        return schema.json_schema()
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        plain: dict[str, Any] = _without_titles(schema.model_json_schema(by_alias=True))
        return plain
    raise TypeError(f"{schema!r} is no schema: give a Pydantic model's class, or what answer_model returns")


def _property(words: Sequence[str] | None) -> dict[str, Any]:
    if words is None:
        return {"type": "string"}
    words = list(dict.fromkeys(words))
    return {"const": words[0], "type": "string"} if len(words) == 1 else {"enum": words, "type": "string"}


def _listed(words: Sequence[str]) -> str:
    *most, last = map(repr, words)
    return f"{', '.join(most)} or {last}" if most else last


def _without_titles(value: Any) -> Any:
    """Drop the `title` annotations; a property that is itself called "title" stays."""
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, inner in value.items():
        if key == "properties":
            kept[key] = {name: _without_titles(entry) for name, entry in inner.items()}
        elif key != "title":
            kept[key] = _without_titles(inner)
    return kept
