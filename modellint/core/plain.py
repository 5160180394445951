"""Dataclasses to JSON-able values and back; non-finite floats travel as the strings "nan", "inf" and "-inf"."""

from __future__ import annotations

import enum
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """`value` as dicts, lists, strings, numbers, booleans and None, ready for strict JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if _is_dataclass(type(value)):
        return {name: to_plain(getattr(value, name)) for name in value.__match_args__}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)  # the same in every process
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[T], value: Any) -> T:
    """The inverse of `to_plain` for a value of type `kind`; unknown keys are ignored, missing ones take defaults.

    Raises TypeError or ValueError when `value` cannot be read as `kind`.
    """
    return typing.cast(T, _build(kind, value))


def _build(kind: Any, value: Any) -> Any:
    if value is None or kind is Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _build_union(arguments, value)
    if origin is tuple:
        return tuple(_build(arguments[0], item) for item in value)
    if origin in (dict, Mapping):
        return {_build(arguments[0], key): _build(arguments[1], item) for key, item in value.items()}
    if _is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        return typing.cast(Any, kind)(
            **{name: _build(hints[name], item) for name, item in value.items() if name in hints}
        )
    return value if type(value) is kind else kind(value)


def _build_union(kinds: tuple[Any, ...], value: Any) -> Any:
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    if type(value) in kinds:
        return value
    if float in kinds and value in ("nan", "inf", "-inf"):
        return float(value)
    return _build(kinds[0], value)


def _is_dataclass(kind: Any) -> bool:
    """Without the standard library's module of that name, which takes longer to load than a file to be read."""
    return hasattr(kind, "__dataclass_fields__")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
