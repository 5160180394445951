"""Whether a value has the batch first, since a convolution or its norm gave it and nothing moved its first axis."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.pattern import pattern

from .code import Event, Function, Value
from .facts import Model

CONVOLUTIONS = pattern(r"torch\.nn\.(Lazy)?(Conv|BatchNorm)[12]d")
PLAIN = pattern(
    r"torch\.nn\.(\w*Conv\w*|\w*Norm\w*|\w*Pool\w*|\w*Dropout\w*|\w*(ReLU|ELU|Tanh|Sigmoid)\w*|SiLU|Hardtanh)"
)
SAME = pattern(
    r"contiguous|relu_?|tanh|elu|gelu|dropout\w*|drop|max_pool[12]d|leaky_relu|float|to|bn\d?|norm\d?|act\w*"
)
FOLDS = ("view", "reshape")


def is_batch_first(value: Value, function: Function, at: int, model: Model) -> bool:
    """Whether a value that a method of a model computes comes straight from a convolution, its first axis in place."""
    convolved = set(_convolved(model))
    while value not in convolved:
        if value.kind == "name":
            at = max((i for i in range(at) if _binds(function.events[i], value.name)), default=-1)
            made = function.events[at].value if at >= 0 else None
        else:
            made = _before(value, function, at)
        if made is None:
            return False
        value = made
    return True


def _convolved(model: Model) -> Iterator[Value]:
    """The calls that apply a convolution, alone or with layers that keep the order of its axes."""
    calls = {layer.call for layer in model.layers if CONVOLUTIONS.fullmatch(layer.name) and layer.call is not None}
    for call in calls:
        if all(PLAIN.fullmatch(layer.name) for layer in model.layers if layer.call is call):
            yield call


def _binds(event: Event, name: str) -> bool:
    return event.kind == "assign" and event.name == name


def _before(value: Value, function: Function, at: int) -> Value | None:
    """What a value was before a step that leaves its first axis where it is; None for any other step."""
    if value.kind != "call":
        return None
    listed = value.name.startswith("torch.") or value.receiver is None or value.name.startswith("self.")
    operands = value.arguments if listed else ((value.receiver, *value.arguments) if value.receiver else ())
    if not operands:
        return None
    whole, given = operands[0], [part for each in operands[1:] for part in (each.arguments or (each,))]
    axes = [each.constant for each in given]
    keeps = (
        SAME.fullmatch(value.method) is not None
        or (value.method == "permute" and axes[:1] == [0])
        or (value.method in ("transpose", "squeeze", "flatten", "mean") and bool(axes) and not {0, None} & set(axes))
        or (value.method in FOLDS and len(given) > 2 and _is_first_size(given[0], whole, function, at))
    )
    return whole if keeps else None


def _is_first_size(value: Value, whole: Value, function: Function, at: int) -> bool:
    """Whether a number is the length of the first axis of what is reshaped, as it is then."""
    if value.kind == "name":
        bound = max((i for i in range(at) if _binds(function.events[i], value.name)), default=-1)
        if bound < 0 or any(_binds(event, whole.name) for event in function.events[bound:at]):
            return False
        value = function.events[bound].value or value
    if value.kind == "item" and value.base is not None and value.arguments[0].constant == 0:
        base = value.base  # of `x.shape[0]`, or of `x.size()` that is taken apart
        return str(base) in (f"{whole}.shape", f"{whole}.size()")
    return value.kind == "call" and str(value) == f"{whole}.size(0)"
