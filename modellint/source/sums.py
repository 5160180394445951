"""Sums as they are written: their terms, each with its sign."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Value


def terms(value: Value, sign: int = 1) -> Iterator[tuple[Value, int]]:
    """What a sum adds (1) and takes off (-1); what is no sum is its only term."""
    if value.kind == "operation" and value.name in ("+", "-"):
        *first, last = value.arguments
        yield from (found for part in first for found in terms(part, sign))
        yield from terms(last, sign if value.name == "+" else -sign)
    else:
        yield value, sign


def negated(value: Value | None) -> Value | None:
    """`x` of `-x`."""
    minus = value is not None and value.kind == "operation" and value.name == "-" and len(value.arguments) == 1
    return value.arguments[0] if minus and value is not None else None
