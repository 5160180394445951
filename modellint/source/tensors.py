"""Values of a function as they are written: what a name was bound to, without what only arranges or moves a tensor."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Function, Value
from .outputs import KEEPS

LONGEST = 60  # names that one value is followed through
MOVES = KEEPS | {"long", "int", "detach", "numpy", "tolist", "train", "eval", "compile"}


def bare(value: Value) -> Value:
    """`y` of `y.view(-1).long()`: without the methods that only arrange or move it."""
    while value.kind == "call" and value.method in MOVES and not value.name.startswith("torch."):
        inner = value.receiver
        if inner is None:
            break
        value = inner
    return value


def operand(call: Value) -> Value | None:
    """What a function or a method computes with: `x` of `torch.exp(x)` and of `x.exp()`."""
    return call.argument(0, "input") if call.name.startswith("torch.") else call.receiver


def bound(function: Function, name: str, before: int | None = None) -> Value | None:
    """What a name was last bound to in a function, before the event of an index."""
    events = reversed(function.events[:before])
    return next((event.value for event in events if event.kind == "assign" and event.name == name), None)


def computed(function: Function, value: Value) -> Iterator[Value]:
    """What a value is computed from in a function: all parts of it, and of what its names were bound to until there."""
    seen: set[str] = set()
    waiting, line = [value], value.location.line or 0
    while waiting and len(seen) < LONGEST:
        for part in waiting.pop().within():
            yield part
            if part.kind == "name" and part.name not in seen:
                seen.add(part.name)
                bindings = (e for e in function.events if e.kind == "assign" and e.name == part.name)
                waiting += [e.value for e in bindings if e.value is not None and (e.location.line or 0) <= line]


def origins(function: Function, value: Value) -> Iterator[Value]:
    """The same, and through what methods are called on: `y` of `y.detach()`."""
    seen: set[str] = set()
    waiting, line = [value], value.location.line or 0
    while waiting and len(seen) < LONGEST:
        for part in waiting.pop().within():
            yield part
            inner = part.receiver if part.kind == "call" and part.base is None else part
            if inner is not None and inner.kind == "name" and inner.name not in seen:
                seen.add(inner.name)
                bindings = (e for e in function.events if e.kind == "assign" and e.name == inner.name)
                waiting += [e.value for e in bindings if e.value is not None and (e.location.line or 0) <= line]


def made(function: Function, value: Value, before: int | None = None) -> Value:
    """What a value is made by: a name is followed to its last binding, once, and both are taken bare."""
    value = bare(value)
    found = bound(function, value.name, before) if value.kind == "name" else None
    return bare(found) if found is not None else value


def followed(function: Function, value: Value, before: int | None = None) -> Value:
    """What a value is made by, through all names on the way, each to its last binding before the one it led to."""
    value = bare(value)
    for event in reversed(function.events[:before]):
        if value.kind == "name" and event.kind == "assign" and event.name == value.name and event.value is not None:
            value = bare(event.value)
    return value


def place(function: Function, call: Value) -> int | None:
    """The index of the event of a call."""
    return next((at for at, e in enumerate(function.events) if e.kind == "call" and e.value is call), None)


def steps(index: Value) -> Iterator[Value]:
    """The constants in the slices of an index: -1 of `[:, :-1]`, 1 of `[1:]`."""
    parts = index.arguments if index.kind == "tuple" else (index,)
    yield from (number for part in parts if part.kind == "unknown" for number in part.arguments)


def of_second(item: Value) -> object:
    """The constant that is taken along the second axis, and the first one whole: -1 of `[:, -1]` and `[:, -1, :]`."""
    index = item.arguments[0]
    if index.kind != "tuple" or len(index.arguments) < 2:
        return None
    whole, one = index.arguments[:2]
    return one.constant if whole.kind == "unknown" and not whole.arguments and one.kind == "constant" else None


def shifted(value: Value, by: int) -> Value | None:
    """What is taken without its last (`by` is -1) or its first item (1) along an axis."""
    if value.kind != "item":
        return None
    given = list(steps(value.arguments[0]))
    return value.base if len(given) == 1 and given[0].constant == by else None


def shifts(function: Function) -> bool:
    """Whether a function takes anything without its first or its last item."""
    return any(shifted(part, by) is not None for part in function.values for by in (-1, 1))
