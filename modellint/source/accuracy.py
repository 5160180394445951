"""Choices of classes that are compared with labels and counted: what an accuracy is the mean of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from .code import Event, Function, Value
from .tensors import bare, bound

CASTS = frozenset({"cpu", "cuda", "to", "detach", "numpy", "float", "double"})
MEANS = frozenset({"mean", "accuracy_score"})
AVERAGES = frozenset({"mean", "sum", "float", "double", "item", "type", "cpu", "to"})
MODELS = pattern(r"(\w+_)?(model|network|classifier|student|mlp|cnn)|\w*net\d*")
LOADER = pattern(r"loader|_dl\b|\bdl\b|batches", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """An `argmax` or `max` of what a model returns, as it is."""

    call: Value
    labels: tuple[Value, ...]  # what it is compared with
    values: bool = False  # of a `max`: the scores are taken, not their places
    given: bool = True  # the labels come from a loop or a caller: `arange` or `gather` make labels of another kind
    loaders: tuple[bool, ...] = ()  # for each `for` around it, innermost first, whether it goes over a loader


def choices(function: Function) -> Iterator[Choice]:
    for at, event in enumerate(function.events):
        comparison = _counted(function, event)
        sides = tuple(_sides(comparison)) if comparison is not None else ()
        for side in sides:
            call, values = _chosen(side, function, at)
            if call is not None and _is_of_model(call, function, at):
                labels = tuple(bare(other) for other in sides if other is not side)
                given = all(label.kind != "name" or followed(label, function, at) is None for label in labels)
                yield Choice(call, labels, values, given, tuple(_over_loaders(function, event)))


def followed(value: Value, function: Function, at: int) -> Value | None:
    """What a name was bound to before an event; all else is itself."""
    return bound(function, value.name, at) if value.kind == "name" else value


def uncast(value: Value) -> Value:
    """Without what changes neither its axes nor their order: `out` of `out.data.cpu().numpy()`."""
    while value.kind == "call" and value.method in CASTS and value.receiver is not None:
        value = value.receiver
    return Value("name", value.name.removesuffix(".data")) if value.kind == "name" else value


def _counted(function: Function, event: Event) -> Value | None:
    """The comparison of which a call takes the mean, or, for each batch of a loader, the sum."""
    value = event.value if event.kind == "call" else None
    if value is None or not (value.method in MEANS or (value.method == "sum" and any(_over_loaders(function, event)))):
        return None
    of_library = value.name.startswith(("torch.", "numpy.", "sklearn."))
    inner = next(iter(value.arguments), None) if of_library else value.receiver
    while inner is not None and inner.kind == "call" and inner.method in AVERAGES:
        inner = inner.receiver
    if value.method == "accuracy_score":
        return value
    return inner if inner is not None and (inner.name == "==" or inner.method in ("eq", "equal")) else None


def _sides(comparison: Value) -> Iterator[Value]:
    """What is compared: `a == b`, `a.eq(b)`, `torch.eq(a, b)`, `accuracy_score(a, b)`."""
    receiver = comparison.receiver if comparison.method == "eq" and not comparison.name.startswith("torch.") else None
    yield from (*comparison.arguments[:2], *((receiver,) if receiver is not None else ()))


def _chosen(side: Value, function: Function, at: int) -> tuple[Value | None, bool]:
    """The call that chose what is compared: `argmax`, or `max`, and whether not its positions but its values are taken."""
    value = followed(bare(side), function, at)
    value = bare(value) if value is not None else None
    if value is not None and value.kind in ("item", "attribute"):
        values = value.name == "values" if value.kind == "attribute" else value.arguments[0].constant == 0
        value = value.base
        return (value if value is not None and value.method == "max" else None), values
    return (value if value is not None and value.method == "argmax" else None), False


def _is_of_model(choice: Value, function: Function, at: int) -> bool:
    """Whether a choice is made of what a model returns, as it is."""
    of_library = choice.name.startswith(("torch.", "numpy."))
    operand = next(iter(choice.arguments), None) if of_library else choice.receiver
    made = followed(uncast(operand), function, at) if operand is not None else None
    made = uncast(made) if made is not None else None
    return made is not None and made.kind == "call" and made.base is None and MODELS.fullmatch(made.method) is not None


def _over_loaders(function: Function, event: Event) -> Iterator[bool]:
    for block in map(function.blocks.__getitem__, function.enclosing(event.block)):
        if block.kind == "for":
            yield LOADER.search(str(block.value)) is not None
