"""Sums that are a divergence of Gaussians, as variational models write it: never negative as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Value

SQUARES = frozenset({"pow", "square", "pow_"})


def sign(value: Value) -> int:
    """1 for `m**2 + v.exp() - 1 - v`, -1 for its negative `1 + v - m**2 - v.exp()`; 0 for anything else."""
    terms = list(_terms(value, 1))
    exponents = {sign for term, sign in terms if _is(term, {"exp"}) and (_subject(term) in {str(t) for t, _ in terms})}
    squares = {sign for term, sign in terms if _is(term, SQUARES) or term.name in ("**", "*")}
    return next(iter(exponents)) if len(exponents) == 1 and exponents == squares else 0


def _terms(value: Value, sign: int) -> Iterator[tuple[Value, int]]:
    if value.kind == "operation" and value.name in ("+", "-"):
        *first, last = value.arguments
        yield from (found for part in first for found in _terms(part, sign))
        yield from _terms(last, sign if value.name == "+" else -sign)
    else:
        yield value, sign


def _is(term: Value, names: set[str] | frozenset[str]) -> bool:
    return term.kind == "call" and term.method in names


def _subject(call: Value) -> str:
    """What a function or a method computes with."""
    method = call.receiver is not None and not call.name.startswith("torch.")
    return str(call.receiver if method else next(iter(call.arguments), ""))
