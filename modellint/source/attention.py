"""Attentions that a function writes by hand: scores, a softmax over them, and the product of the weights with the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from modellint.core.record import dataclass

from .code import Function, Value
from .products import factors, is_product
from .script import Script

LONGEST = 60  # values on the way from a product to the softmax, or from there to the scores
MASKS = frozenset({"masked_fill", "masked_fill_", "where"})
IN_PLACE = frozenset({"masked_fill_", "mul_", "div_", "add_", "sub_"})
KEEPS = (
    MASKS
    | IN_PLACE
    | frozenset("to type type_as float half double contiguous clone div mul add sub clamp tanh nan_to_num".split())
)  # calls that move no axis


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """`before` and `after` are what is done to the scores and to the weights, the last step first."""

    softmax: Value
    axis: int | None  # None: not written
    scores: Value
    product: Value  # of the weights, as they are, with the values
    before: tuple[Value, ...]
    after: tuple[Value, ...]
    at: int  # the event of the function before which the scores are made


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """What was done to a value that began as `start`, the last step first."""

    start: Value
    at: int
    steps: tuple[Value, ...] = ()


def attentions(script: Script, function: Function) -> Iterator[Attention]:
    """Those whose weights are the left factor of the product."""
    layers, seen = _layers(script, function), set[int]()
    if all(settings(call, layers) is None for call in function.calls):
        return
    for at, event in enumerate(function.events):
        parts = event.value.within() if event.value is not None and event.kind != "call" else iter(())
        for product in (part for part in parts if is_product(part) and id(part) not in seen):
            seen.add(id(product))
            yield from _attention(function, layers, product, at)


def _attention(function: Function, layers: Mapping[str, Value], product: Value, at: int) -> Iterator[Attention]:
    for left in factors(product)[:1]:
        weights = _back(function, Trail(left, at), lambda value: settings(value, layers) is not None)
        made = settings(weights.start, layers) if weights is not None else None
        given = _operand(weights.start) if weights is not None else None
        if weights is not None and made is not None and given is not None:
            scores = _back(function, Trail(given, weights.at), is_product)
            if scores is not None:
                steps = scores.steps, weights.steps
                yield Attention(weights.start, _axis(made), scores.start, product, *steps, scores.at)


def settings(value: Value, layers: Mapping[str, Value]) -> Value | None:
    """The call that tells a softmax its axis, if the value is one."""
    if value.kind != "call":
        return None
    if value.name in layers:
        return layers[value.name]
    if value.base is not None and not value.name:
        return value.base if value.base.name == "torch.nn.Softmax" else None
    known = value.name.startswith("torch.") or value.receiver is not None
    return value if value.method == "softmax" and known and value.name != "self.softmax" else None


def _axis(made: Value) -> int | None:
    of_torch = made.name.startswith("torch.") and made.method == "softmax"
    given = made.argument(None, "axis") or made.argument(int(of_torch), "dim")
    return given.constant if given is not None and isinstance(given.constant, int) else None


def _layers(script: Script, function: Function) -> dict[str, Value]:
    """The softmax layers that the function, or another method of its class, binds to a name."""
    if "Softmax" not in script.called:
        return {}
    near = [f for f in script.functions if f is function or (f.owner is not None and f.owner == function.owner)]
    made = ((e.name, e.value) for f in near for e in f.events if e.kind == "assign" and e.value is not None)
    return {name: value for name, value in made if value.name == "torch.nn.Softmax"}


def _back(function: Function, trail: Trail, is_goal: Callable[[Value], bool]) -> Trail | None:
    """To the value from which another was made, through what moves no axis."""
    waiting, seen = [trail], set[int]()
    while waiting and len(seen) < LONGEST:
        trail = waiting.pop()
        if is_goal(trail.start):
            return trail
        if id(trail.start) not in seen:
            seen.add(id(trail.start))
            waiting += reversed(list(_before(function, trail)))
    return None


def _before(function: Function, trail: Trail) -> Iterator[Trail]:
    value, steps = trail.start, (*trail.steps, trail.start)
    if value.kind == "name":
        yield from _bound(function, trail)
    elif value.kind == "choice":
        yield from (Trail(part, trail.at, trail.steps) for part in value.arguments)
    elif value.kind == "operation" and value.name in ("+", "-", "*", "/"):
        yield from (Trail(part, trail.at, steps) for part in value.arguments)
    elif value.kind == "call" and value.name == "torch.where":
        yield from (Trail(part, trail.at, steps) for part in value.arguments[1:])
    elif value.kind == "call" and (value.method in KEEPS or "drop" in value.method.lower()):
        given = _operand(value)
        yield from (Trail(given, trail.at, steps) for _ in range(given is not None) if given is not None)


def _bound(function: Function, trail: Trail) -> Iterator[Trail]:
    """What a name was last bound to, and what was done to it in place since."""
    name, steps = trail.start.name, trail.steps
    for at in range(trail.at - 1, -1, -1):
        event = function.events[at]
        if event.value is None:
            continue
        if event.kind in ("assign", "augment") and event.name == name:
            yield Trail(event.value, at, steps)
            return
        if event.kind == "assign" and event.name.startswith(f"{name}["):
            put = Value("call", "masked_fill_", arguments=(Value("unknown"), event.value), location=event.location)
            steps = (*steps, put)
        elif event.kind == "call" and event.value.method in IN_PLACE and str(event.value.receiver) == name:
            steps = (*steps, event.value)


def _operand(call: Value) -> Value | None:
    """The tensor that a function, a layer or a method of its own works on."""
    if call.name.startswith("torch.") or call.receiver is None or call.receiver.name == "self" or not call.name:
        return call.argument(0, "input")
    return call.argument(0, "input") if "drop" in call.method.lower() else call.receiver
