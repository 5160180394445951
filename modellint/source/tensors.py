"""Values of a function as they are written: what a name was bound to, without what only arranges or moves a tensor."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

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


def axis(call: Value) -> float | None:
    """The axis that a function, a method or a layer runs over; None if it is given none, NaN if it cannot be read."""
    given_first = call.name.startswith(("torch.", "numpy.")) and not call.method[:1].isupper()
    given = call.argument(None, "axis") or call.argument(int(given_first), "dim")
    if given is None:
        return None
    return given.constant if isinstance(given.constant, int) else math.nan


def bound(function: Function, name: str, before: int | None = None) -> Value | None:
    """What a name was last bound to in a function, before the event of an index."""
    places = bindings(function).get(name, ())
    count = len(places) if before is None else bisect_left(places, before)
    return function.events[places[count - 1]].value if count else None


def bounds(function: Function, name: str) -> list[Value]:
    """All that a name is bound to in a function, in order."""
    values = (function.events[place].value for place in bindings(function).get(name, ()))
    return [value for value in values if value is not None]


@lru_cache(1000)
def bindings(function: Function) -> Mapping[str, Sequence[int]]:
    """The events that bind each name of a function anew."""
    found: dict[str, list[int]] = defaultdict(list)
    for at, event in enumerate(function.events):
        if event.kind == "assign":
            found[event.name].append(at)
    return dict(found)


@lru_cache(1000)
def named(function: Function) -> Mapping[str, Value]:
    """What each name of a function is bound to last."""
    return {e.name: e.value for e in function.events if e.kind == "assign" and e.value is not None}


def computed(function: Function, value: Value) -> Iterator[Value]:
    """What a value is computed from in a function: all parts of it, and of what its names were bound to until there."""
    seen: set[str] = set()
    waiting, line = [value], value.location.line or 0
    while waiting and len(seen) < LONGEST:
        for part in waiting.pop().within():
            yield part
            if part.kind == "name" and part.name not in seen:
                seen.add(part.name)
                waiting += _until(function, part.name, line)


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
                waiting += _until(function, inner.name, line)


def _until(function: Function, name: str, line: int) -> list[Value]:
    """What a name is bound to down to a line."""
    events = (function.events[place] for place in bindings(function).get(name, ()))
    return [e.value for e in events if e.value is not None and (e.location.line or 0) <= line]


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
