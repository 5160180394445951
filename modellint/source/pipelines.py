"""Which transforms a composition applies, as far as its list can be read."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Function, Value
from .tensors import bound

COMPOSES = ("Compose", "Sequential")
GROWS = ("append", "insert", "extend", "pop", "remove")
DEEPEST = 4


def steps(
    function: Function, value: Value, at: int, module: Function, depth: int = DEEPEST
) -> tuple[Value, ...] | None:
    """The calls that make the transforms, in order; None where it is no composition, or not all of it is written there."""
    value = followed(function, value, at, module)
    if value.kind != "call" or value.method not in COMPOSES or value.unpacks or not value.arguments:
        return None
    listed = value.arguments[0] if len(value.arguments) == 1 else Value("list", arguments=value.arguments)
    found = list(_listed(function, listed, at, module, depth))
    return tuple(filter(None, found)) if found and None not in found else None


def _listed(function: Function, value: Value, at: int, module: Function, depth: int) -> Iterator[Value | None]:
    made = followed(function, value, at, module)
    if depth <= 0 or (value.kind == "name" and _changes(function, value.name)):
        yield None
    elif made.kind in ("list", "tuple"):
        for item in made.arguments:
            inner = item.base if item.kind == "starred" else None
            if inner is not None:
                yield from _listed(function, inner, at, module, depth - 1)
            else:
                yield from _step(function, item, at, module, depth)
    elif made.kind == "operation" and made.name == "+":
        for part in made.arguments:
            yield from _listed(function, part, at, module, depth - 1)
    else:
        yield from _step(function, made, at, module, depth)


def _changes(function: Function, name: str) -> bool:
    """Whether a list is bound again, or grows."""
    grown = any(call.method in GROWS and str(call.receiver) == name for call in function.calls)
    bindings = [event.kind for event in function.events if event.name == name and event.kind in ("assign", "augment")]
    return grown or "augment" in bindings or len(bindings) > 1


def _step(function: Function, item: Value, at: int, module: Function, depth: int) -> Iterator[Value | None]:
    """What a step does; those of a composition within a composition."""
    made = followed(function, item, at, module)
    if made.method in COMPOSES:
        yield from steps(function, made, at, module, depth - 1) or (None,)
    else:
        yield made if made.kind == "call" else None


def followed(function: Function, value: Value, at: int | None, module: Function) -> Value:
    """What a name is bound to in the function, else in the module's own body, if it is bound once."""
    if value.kind != "name":
        return value
    made = bound(function, value.name, at)
    outside = [e.value for e in module.events if e.kind == "assign" and e.name == value.name] if made is None else []
    return made or (outside[0] if len(outside) == 1 and outside[0] is not None else value)
