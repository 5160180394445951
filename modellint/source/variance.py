"""Variances and deviations of latents, as functions write them: `logvar`, `std = exp(0.5 * logvar)`, divergences of both."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint.core.pattern import pattern

from . import tensors
from .code import Event, Function, Value
from .sums import terms

DEVIATION = pattern(r"std|std_?dev|sigma|stddev", re.IGNORECASE)
LOG_VARIANCE = pattern(r"(.*[._])?(z_?)?log_?var(iance)?(_?[z\d])?", re.IGNORECASE)
POSITIVE = pattern(r"exp|softplus|sqrt|square")
ROOTS = frozenset({"sqrt", "sqrt_", "rsqrt", "diag", "diag_embed", "MultivariateNormal"})


def is_deviation(function: Function, owner: Value | None) -> bool:
    """Whether it is named so, and made by an exponential."""
    if owner is None or DEVIATION.fullmatch(owner.name) is None:
        return False
    made = [value for value in tensors.bounds(function, owner.name) if "exp" in str(value)]
    return any(LOG_VARIANCE.fullmatch(part.name) for value in made for part in value.within())


def is_logarithm(function: Function, event: Event) -> bool:
    """Whether a name is bound to a logarithm once and for all, and that is made by nothing that makes it positive."""
    value = event.value
    if value is None or value.kind != "name" or LOG_VARIANCE.fullmatch(value.name) is None or "." in value.name:
        return False
    others = [e for e in function.events if e.kind in ("assign", "augment") and e is not event]
    positive = any(e.name == value.name and POSITIVE.search(str(e.value)) for e in others)
    return not positive and all(e.name != event.name for e in others)


def exponent(value: Value) -> str:
    """The logarithm of a variance of which nothing but `exp()` is taken."""
    if value.kind != "call" or value.method != "exp":
        return ""
    given = tensors.operand(value)
    return given.name if given is not None and given.kind == "name" and LOG_VARIANCE.fullmatch(given.name) else ""


def takes_root(function: Function) -> bool:
    """Whether a variance is made a deviation later, or is handed on as one."""
    powers = (part.arguments[1].constant for part in function.values if part.name == "**" and len(part.arguments) == 2)
    return any(call.method in ROOTS for call in function.calls) or 0.5 in powers


def takes_variance(function: Function) -> bool:
    """Whether a divergence takes off the exponential of what it adds: `1 + logvar - mu ** 2 - logvar.exp()`."""
    for _, plus, minus in sums(function):
        if any("exp" in term and name in term for term in minus for name in plus if LOG_VARIANCE.fullmatch(name)):
            return True
    return False


def sums(function: Function) -> Iterator[tuple[Value, list[str], list[str]]]:
    """The sums that calls are given, with what they add and what they take off."""
    for value in (part for call in function.calls for part in (*call.arguments, call.base) if part is not None):
        if value.name in ("+", "-") and any(LOG_VARIANCE.fullmatch(part.name) for part in value.within()):
            plus, minus = ([term for term, sign in terms(value) if sign == kept] for kept in (1, -1))
            if plus and minus:
                yield value, [str(term) for term in plus], [str(term) for term in minus]
