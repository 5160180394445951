"""Whether a function splits data into parts for training and for evaluation: drawn at random, cut, folded."""

from __future__ import annotations

from . import parts, tensors
from .code import Event, Function, Value
from .spans import spans


def drawn(function: Function, fitted: Event, names: set[str]) -> Value | None:
    """The call that splits at random what was fitted, before its names hold anything else."""
    events = iter(function.events)
    any(event is fitted for event in events)  # goes on behind it
    for event in events:
        value = event.value
        if event.kind == "return" and event.block == fitted.block:
            return None
        if value is None:
            continue
        if event.kind == "call" and value.method == "train_test_split":
            if any(part.name in names for part in value.arguments):
                return value
        elif event.kind == "assign" and event.name in names:
            same = any(part.name.partition(".")[0] in names for part in value.within())
            names = names if same else names - {event.name}
    return None


def holds_out(function: Function, split: Value) -> bool:
    """Whether one of the parts is for the evaluation, as far as they have names; two clients may share the data."""
    bound = [e.name for e in function.events if e.kind == "assign" and e.value is not None and e.value.base is split]
    return not bound or any(map(parts.evaluates, bound))


def is_cut(function: Function, fitted: Event) -> bool:
    """Whether what was fitted is later cut into a part that trains and one that evaluates."""
    start = fitted.location.line or 0
    parted = [(name, value) for name, value, part, _ in spans(function) if part.base == fitted.name]
    later = [name for name, value in parted if (value.location.line or 0) > start]
    return any(map(parts.trains, later)) and any(map(parts.evaluates, later))


def draws(function: Function, call: Value, whole: str, at: int) -> bool:
    """Whether `train_test_split` draws parts of the data whose statistics an event takes."""
    if call.method != "train_test_split" or all(part.name != whole for part in call.arguments):
        return False
    place = tensors.place(function, call)
    return tensors.bound(function, whole, place) is tensors.bound(function, whole, at)


def is_parted(function: Function, names: set[str]) -> bool:
    """Whether one part of the data is for training and one for the evaluation, as names or what is returned tell."""
    found = [name for name, _, span, _ in spans(function) if span.base in names]
    for event in function.events:
        value = event.value
        if event.kind == "assign" and value is not None and value.kind == "item" and str(value.base) in names:
            found += [event.name] if value.arguments[0].kind == "name" else []
        elif event.kind == "return" and value is not None and value.kind == "tuple":
            cut = [v.arguments[0].name for v in value.arguments if v.kind == "item" and str(v.base) in names]
            if ":_" in cut and "_:" in cut:
                return True
    return any(map(parts.trains, found)) and any(map(parts.evaluates, found))


def is_folded(function: Function, whole: str) -> bool:
    """Whether a cross-validation goes over the data."""
    splits = (call for call in function.calls if call.method == "split")
    return bool(whole) and any(part.name == whole for call in splits for part in call.arguments)
