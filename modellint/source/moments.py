"""Mean and deviation that a function takes of data, and what it scales by them."""

from __future__ import annotations

from . import tensors
from .code import Event, Function, Value

Moments = dict[str, tuple[int, Event]]  # "mean" and "std": the event that binds it, and which it is


def taken(function: Function) -> dict[str, Moments]:
    """Of each name whose mean or deviation over the samples is kept, the events that bind these."""
    found = dict[str, Moments]()
    for at, event in enumerate(function.events):
        for call in event.value.within() if event.kind == "assign" and event.value is not None else ():
            if call.kind == "call" and call.method in ("mean", "std") and _is_over_samples(call):
                whole = _of(call)
                if whole.isidentifier() and whole != event.name:
                    found.setdefault(whole, {}).setdefault(call.method, (at, event))
    return found


def _is_over_samples(call: Value) -> bool:
    place = int(call.receiver is not None and call.receiver.name == "numpy")
    axis = next((a for name in ("axis", "dim") if (a := call.argument(place, name)) is not None), None)
    axes = () if axis is None else axis.arguments if axis.kind == "tuple" else (axis,)
    return axis is None or any(part.constant == 0 and part.kind == "constant" for part in axes)


def scale(function: Function, moments: Moments) -> bool:
    """Whether something is scaled by both: `(x - mean) / std`."""
    mean, std = (moments[method][1].name for method in ("mean", "std"))
    quotients = (v.arguments for v in function.values if v.kind == "operation" and v.name == "/")
    return mean != std and any(_names(above, mean) and _names(below, std) for above, below in quotients)


def derived(function: Function, moments: Moments, whole: str) -> set[str]:
    """What is computed from the data and all of their moments."""
    names = [whole, *(event.name for _, event in moments.values())]
    made = ((e.name, e.value) for e in function.events if e.kind == "assign" and e.value is not None)
    return {name for name, value in made if all(_names(value, part) for part in names)}


def _names(value: Value, name: str) -> bool:
    return any(part.kind == "name" and part.name == name for part in value.within())


def standardised(function: Function, value: Value) -> bool:
    """`(x - x.mean(0)) / x.std(0)`, or with both under names."""
    if value.kind != "operation" or value.name != "/" or value.arguments[0].name != "-":
        return False
    whole, mean = value.arguments[0].arguments[0], next(iter(value.arguments[0].arguments[1:]), None)
    inside = [*(mean.within() if mean is not None else ()), *value.arguments[1].within()]
    named = (tensors.bound(function, part.name) for part in inside if part.kind == "name")
    everything = [*inside, *(part for made in named if made is not None for part in made.within())]
    taken = {part.method for part in everything if part.kind == "call" and whole.name and (_of(part) == whole.name)}
    return {"mean", "std"} <= taken


def by_itself(function: Function, event: Event) -> bool:
    """`x = (x - x.mean(0)) / x.std(0)`, over the samples."""
    if event.value is None or not standardised(function, event.value):
        return False
    calls = (part for part in event.value.within() if part.kind == "call" and part.method in ("mean", "std"))
    own = [call for call in calls if _of(call) == event.name]
    return len(own) == 2 and all(map(_is_over_samples, own))


def _of(call: Value) -> str:
    """What `x.mean()` and `np.mean(x)` are taken of."""
    of_numpy = call.arguments and call.receiver is not None and call.receiver.name == "numpy"
    return call.arguments[0].name if of_numpy else str(call.receiver)
