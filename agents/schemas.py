"""Small flat answer schemas, built from the study's own names so that a variable cannot be invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

__all__ = ["answer_model", "answered", "json_schema"]


def answer_model(fields: Mapping[str, Sequence[str] | None]) -> type[BaseModel]:
    """Return a model with one required property per entry: one of the given words, or free text where None is given.

    Property names are used as they are, dots included; nothing else is accepted.

    Examples
    --------
    >>> Effects = answer_model({"items.price": ["raises", "lowers"], "why": None})
    >>> answered(Effects.model_validate({"items.price": "lowers", "why": "it costs more"}))
    {'items.price': 'lowers', 'why': 'it costs more'}
    """
    return _answer_model(tuple((name, None if words is None else tuple(words)) for name, words in fields.items()))


def answered(answer: BaseModel) -> dict[str, str]:
    """Return an answer as a plain dictionary under its properties' own names."""
    return answer.model_dump(by_alias=True)


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the model's JSON schema without titles, which only cost tokens and compile time."""
    schema: dict[str, Any] = _without_titles(model.model_json_schema(by_alias=True))
    return schema


@lru_cache(maxsize=512)
def _answer_model(fields: tuple[tuple[str, tuple[str, ...] | None], ...]) -> type[BaseModel]:
    definitions: dict[str, Any] = {}
    for i, (name, words) in enumerate(fields):
        kind: Any = str if words is None else Literal[words]
        definitions[f"field_{i}"] = (kind, Field(alias=name))
    return create_model("Answer", __config__=ConfigDict(extra="forbid", frozen=True), **definitions)


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
