"""What the methods and functions of tensors do to a row of axes, and how the sizes of axes are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from .code import Function, Value

Axis = tuple[str, ...]  # the sizes whose product it is; () is 1; a name with "?" is one that the code does not name
KEEPS = frozenset(
    "contiguous float half double to cuda cpu type type_as detach clone softmax log_softmax relu gelu silu tanh sigmoid "
    "elu leaky_relu dropout masked_fill masked_fill_ normalize exp layer_norm add sub mul div mul_ div_ add_ clamp".split()
)
VIEWS = frozenset({"view", "reshape"})


def arranged(method: str, axes: Sequence[Axis], places: Sequence[int]) -> Sequence[Axis] | None:
    """The axes after a method that is given their numbers; None if that cannot be told."""
    change = CHANGES.get(method)
    if change is None or any(not -len(axes) <= place <= len(axes) for place in places):
        return None
    return change(list(axes), places)


def _transposed(axes: list[Axis], places: Sequence[int]) -> Sequence[Axis] | None:
    if len(places) != 2 or max(places) >= len(axes):
        return None
    one, other = places
    axes[one], axes[other] = axes[other], axes[one]
    return axes


def _permuted(axes: list[Axis], places: Sequence[int]) -> Sequence[Axis] | None:
    whole = sorted(place % len(axes) for place in places) == list(range(len(axes)))
    return [axes[place] for place in places] if whole else None


def _flattened(axes: list[Axis], places: Sequence[int]) -> Sequence[Axis] | None:
    if len(places) not in (1, 2):
        return None
    start, end = places[0] % len(axes), (*places, -1)[1] % len(axes)
    return [*axes[:start], tuple(size for axis in axes[start : end + 1] for size in axis), *axes[end + 1 :]]


def _unsqueezed(axes: list[Axis], places: Sequence[int]) -> Sequence[Axis] | None:
    if len(places) != 1:
        return None
    axes.insert(places[0] if places[0] >= 0 else len(axes) + 1 + places[0], ())
    return axes


def _squeezed(axes: list[Axis], places: Sequence[int]) -> Sequence[Axis] | None:
    if len(places) != 1 or places[0] == len(axes) or axes[places[0]] != ():
        return None
    del axes[places[0]]
    return axes


CHANGES: dict[str, Callable[[list[Axis], Sequence[int]], Sequence[Axis] | None]] = {
    "transpose": _transposed,
    "swapaxes": _transposed,
    "permute": _permuted,
    "flatten": _flattened,
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
}


def subject(call: Value) -> tuple[Value | None, tuple[Value, ...]]:
    """The tensor that a function or a method works on, and the other arguments."""
    if call.name.startswith("torch."):
        return (call.arguments[0], call.arguments[1:]) if call.arguments else (None, ())
    return call.receiver, call.arguments


def listed(given: tuple[Value, ...]) -> tuple[Value, ...]:
    """`1, 2` of `(1, 2)` and of `((1, 2),)`."""
    return given[0].arguments if len(given) == 1 and given[0].kind in ("tuple", "list") else given


def sizes(call: Value) -> tuple[Value, ...]:
    """What a view is given, one for each axis; () where that cannot be read."""
    given = listed(subject(call)[1])
    return () if call.keywords or any(part.kind == "starred" for part in given) else given


def whole(value: Value) -> int | None:
    known = isinstance(value.constant, int) and not isinstance(value.constant, bool)
    return int(value.constant) if known and value.constant is not None else None


def shape_of(value: Value | None) -> Value | None:
    """`x` of `x.shape` and `x.size()`."""
    if value is None:
        return None
    if value.kind == "name" and value.method == "shape":
        return value.receiver
    if value.kind == "attribute" and value.name == "shape":
        return value.base
    return value.receiver if value.kind == "call" and value.method == "size" and not value.arguments else None


def size_of(value: Value) -> tuple[Value, int] | None:
    """`x` and 1 of `x.shape[1]` and `x.size(1)`."""
    if value.kind == "item" and value.arguments:
        tensor, place = shape_of(value.base), whole(value.arguments[0])
    elif value.kind == "call" and value.method == "size" and value.arguments:
        tensor, place = value.receiver, whole(value.arguments[0])
    else:
        return None
    return (tensor, place) if tensor is not None and place is not None else None


def taken_apart(function: Function) -> dict[int, int]:
    """How many axes a shape has that is taken apart, `b, t, c = x.shape`, by the value that is."""
    items = (event.value for event in function.events if event.kind == "assign" and event.value is not None)
    found = Counter(id(v.base) for v in items if v.kind == "item" and shape_of(v.base) is not None)
    return {base: count for base, count in found.items() if count > 1}


def rebound(function: Function) -> dict[int, set[str]]:
    """The names that each loop binds."""
    found: dict[int, set[str]] = {}
    for event in function.events:
        if event.kind in ("assign", "augment"):
            for index in function.enclosing(event.block):
                if function.blocks[index].is_loop:
                    found.setdefault(index, set()).add(event.name)
    return found
