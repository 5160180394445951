"""What becomes of an optimizer after it is made: whether anything may step it, and where its gradients are cleared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modellint.core.record import dataclass

from .code import Event, Function, Value
from .script import Script
from .vocabulary import HARMLESS, is_scheduler

PREPARED = ("prepare", "prepare_optimizer")  # an optimizer in, the same optimizer out: it is still to be stepped
GRADIENT = frozenset({"grad", "grads", "apply_gradients"})  # gradients that are read may be applied by hand


@dataclass(frozen=True, slots=True)
class Usage:
    stepped: bool = True  # False only if nothing in the project may step it
    clears: tuple[Value, ...] = ()  # the calls that clear its gradients in functions that make them


def usage(related: Iterable[Script], script: Script, function: Function, call: Value) -> Usage:
    """Of the object that `call` makes in a function, as far as `related` scripts may see it."""
    names = {event.name for event in function.events if event.kind == "assign" and event.value is call}
    name = next(iter(names), "")
    if len(names) != 1 or "[" in name or script.attributes & GRADIENT:
        return Usage()
    attribute = name.startswith("self.")
    last = name.rpartition(".")[2]
    scripts = [s for s in related if s is script or (attribute and last in s.attributes)]
    functions = [f for s in scripts for f in s.functions]
    stepped = any(_may_step(event, last, call) for f in functions for event in f.events)
    return Usage(stepped, tuple(_clears(functions, last)))


def _may_step(event: Event, name: str, made: Value) -> bool:
    """Whether an event steps what is called so, or hands it to where that cannot be seen."""
    value = event.value
    if value is None or value is made or (event.kind == "call" and value.method == "zero_grad"):
        return False
    if event.kind == "call" and "step" in value.method and _is(value.receiver, name):
        return True
    return any(_is(part, name) for part in _handed(value))


def _handed(value: Value) -> Iterator[Value]:
    """The values inside another, without what is only looked at."""
    yield value
    parts: Iterable[Value] = (*value.arguments, *(item for _, item in value.keywords))
    for part in (*(() if _looks(value) else parts), *((value.base,) if value.base is not None else ())):
        yield from _handed(part)


def _looks(value: Value) -> bool:
    """Whether a call leaves the optimizer to its maker."""
    harmless = HARMLESS.search(value.method) is not None or value.method in PREPARED
    return value.kind == "call" and (harmless or is_scheduler(value.name))


def _is(value: Value | None, name: str) -> bool:
    return value is not None and value.kind in ("name", "attribute") and value.method == name


def _clears(functions: Iterable[Function], name: str) -> Iterator[Value]:
    for function in functions:
        calls = list(function.calls)
        if any(call.method in ("backward", "manual_backward") for call in calls):
            yield from (call for call in calls if call.method == "zero_grad" and _is(call.receiver, name))
