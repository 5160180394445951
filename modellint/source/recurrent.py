"""Recurrent layers: how they are set up, and what a function reads of what one gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modellint.core.pattern import pattern

from .code import Event, Function, Value
from .facts import Layer
from .script import Script
from .tensors import of_second

# The positions of `batch_first` and `bidirectional`.
RECURRENT = {"torch.nn.LSTM": (4, 6), "torch.nn.GRU": (4, 6), "torch.nn.RNN": (5, 7)}
KEEPS = pattern(r"(?i).*(drop|norm|relu|tanh|contiguous).*")  # the axes of what it is given


def layers(script: Script) -> Iterator[tuple[Layer, Function, int]]:
    """The recurrent layers that models apply, each with the function that calls it and the event of the call."""
    called = {layer.call: layer for model in script.models for layer in model.layers if layer.name in RECURRENT}
    for layer in called.values():
        for function in script.functions:
            at = next((i for i, event in enumerate(function.events) if event.value is layer.call), None)
            if at is not None:
                yield layer, function, at


def is_batch_first(layer: Layer) -> bool | None:
    """None where it cannot be read."""
    return _switched(layer, RECURRENT[layer.name][0], "batch_first")


def is_bidirectional(layer: Layer) -> bool | None:
    return _switched(layer, RECURRENT[layer.name][1], "bidirectional")


def _switched(layer: Layer, position: int, name: str) -> bool | None:
    made = layer.made
    if made is None or made.unpacks:
        return None
    given = made.argument(position, name)
    return False if given is None else bool(given.constant) if given.kind == "constant" else None


def uses(events: tuple[Event, ...], is_it: Callable[[Value], bool]) -> Iterator[Value]:
    """What a function does with a value, while the name that holds it is not bound anew.

    The items that it takes of it, and the value itself where it goes elsewhere as a whole; each once.
    """
    names, seen = set[str](), set[int]()
    for event in (event for event in events if event.value is not None):
        value = event.value
        assert value is not None
        kept, given = _keeps(value, names), event.kind == "assign" and is_it(value)
        seen |= {id(kept)} if kept is not None else set()
        seen |= {id(value)} if given else set()
        for part in value.within():
            inner = part.base if part.kind == "item" and part.base is not None else part
            whole = next((v for v in (part, inner) if is_it(v) or (v.kind == "name" and v.name in names)), None)
            if whole is not None and not {id(part), id(whole)} & seen:
                seen |= {id(part), id(whole)}
                yield part
        if event.kind == "assign":
            names = names - {event.name} | ({event.name} if given or kept is not None else set())


def pools(
    events: tuple[Event, ...], is_it: Callable[[Value], bool], pooled: Callable[[Value], Value | None]
) -> Iterator[Value]:
    """Where a value is reduced, while the name that holds it is not bound anew."""
    names = set[str]()
    for event in (event for event in events if event.value is not None):
        value = event.value
        assert value is not None
        subject = pooled(value) if event.kind == "call" else None
        if subject is not None and (is_it(subject) or (subject.kind == "name" and subject.name in names)):
            yield value
        if event.kind == "assign":
            held = is_it(value) or _keeps(value, names) is not None
            names = names - {event.name} | ({event.name} if held else set())


def is_output(value: Value, call: Value) -> bool:
    return is_part(value, 0) and value.base is call


def is_part(value: Value, index: int) -> bool:
    """Whether it is the item of that number."""
    return value.kind == "item" and value.arguments[0].kind == "constant" and value.arguments[0].constant == index


def is_last_of_second(item: Value) -> bool:
    """`[:, -1]` or `[:, -1, :]`."""
    return of_second(item) == -1


def is_last(item: Value) -> bool:
    """`[-1]`, or `[-1, :]`."""
    index = item.arguments[0]
    first = index.arguments[0] if index.kind == "tuple" and index.arguments else index
    return first.kind == "constant" and first.constant == -1


def _keeps(value: Value, names: set[str]) -> Value | None:
    """What of one of the names a call gives back with the same axes."""
    if value.kind != "call" or KEEPS.fullmatch(value.method) is None:
        return None
    given = value.arguments[0] if value.arguments else value.receiver
    return given if given is not None and given.name in names else None
