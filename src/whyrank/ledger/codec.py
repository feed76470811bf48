"""Frozen dataclasses to JSON text and back, exactly: NaN, infinities, nested dataclasses and tuples included."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from functools import cache
from typing import Any, TypeVar

import numpy as np

from whyrank.errors import LedgerError

__all__ = ["decode", "encode", "read_json", "write_json"]

T = TypeVar("T")

_FLOAT = "$float"  # JSON has no NaN: {"$float": "nan"} stands for it, so that other programs can read the ledger


def encode(value: Any) -> str:
    """Return a dataclass instance as JSON text; equal instances give equal text."""
    return write_json({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})


def write_json(value: Any) -> str:
    """Return JSON text of nested dicts, lists, tuples, dataclasses, numpy values and plain ones.

    Raises
    ------
    LedgerError
        If something in it has no JSON form.
    """
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))


def read_json(text: str) -> Any:
    """Read what `write_json` wrote (tuples come back as lists)."""
    return json.loads(text, object_hook=_revive)


def decode(cls: type[T], text: str) -> T:
    """Read a dataclass of type `cls` from what `encode` wrote.

    Raises
    ------
    LedgerError
        If the text holds fields that `cls` doesn't have, or lacks one that it needs.
    """
    return typing.cast(T, _build(cls, read_json(text)))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise LedgerError(f"cannot keep {value!r} in the ledger: expected JSON-ready values, got {type(value).__name__}")


def _revive(entry: dict[str, Any]) -> Any:
    return float(entry[_FLOAT]) if entry.keys() == {_FLOAT} else entry


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: Any, value: Any) -> Any:
    """Rebuild `value` as the annotated type `kind`; scalars pass as they are."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        try:
            return kind(**{name: _build(hints.get(name, Any), entry) for name, entry in value.items()})
        except TypeError as error:
            raise LedgerError(
                f"a {kind.__name__} in the ledger doesn't fit this version of WhyRank ({error}); "
                "set another --workdir or remove the ledger"
            ) from None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_build(arguments[0], entry) for entry in value)
        return tuple(_build(a, entry) for a, entry in zip(arguments, value, strict=True))
    if origin in (typing.Union, types.UnionType) and value is not None:
        (inner,) = [a for a in arguments if a is not type(None)] if len(arguments) == 2 else [Any]
        return _build(inner, value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
