"""Sums that are a divergence of Gaussians, as variational models write it: never negative as a whole."""

from __future__ import annotations

from .code import Value
from .sums import terms

SQUARES = frozenset({"pow", "square", "pow_"})


def sign(value: Value) -> int:
    """1 for `m**2 + v.exp() - 1 - v`, -1 for its negative `1 + v - m**2 - v.exp()`; 0 for anything else."""
    found = list(terms(value))
    exponents = {sign for term, sign in found if _is(term, {"exp"}) and (_subject(term) in {str(t) for t, _ in found})}
    squares = {sign for term, sign in found if _is(term, SQUARES) or term.name in ("**", "*")}
    return next(iter(exponents)) if len(exponents) == 1 and exponents == squares else 0


def _is(term: Value, names: set[str] | frozenset[str]) -> bool:
    return term.kind == "call" and term.method in names


def _subject(call: Value) -> str:
    """What a function or a method computes with."""
    method = call.receiver is not None and not call.name.startswith("torch.")
    return str(call.receiver if method else next(iter(call.arguments), ""))
