"""Torch's attentions that run along the first axis, and what the code around them says of the second."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.record import dataclass

from . import lookup
from .code import Event, Function, Value
from .facts import Layer
from .script import Script
from .tensors import bound, of_second
from .unmoved import KEEPS, Unmoved, along_first

POSITIONS = {"torch.nn.TransformerEncoderLayer": 6, "torch.nn.MultiheadAttention": 8}  # of `batch_first`
ATTENTIONS = frozenset({*POSITIONS, "torch.nn.TransformerEncoder"})
POOLS = frozenset({"mean", "max", "sum", "amax"})


@dataclass(frozen=True, slots=True)
class Read:
    """A place where the second axis of what an attention gives back is taken for that of the items."""

    layer: Layer
    place: Value
    sure: bool  # whether the code before the attention says that it is given sequences


def reads(script: Script) -> Iterator[Read]:
    for layer, function, at in _called(script, False):
        if layer.call is not None:
            yield from _read(script, function, at, layer, layer.call)


def encoded(script: Script) -> Iterator[tuple[str, Value]]:
    """Modules that take the batch first, with the items of the tables of positions that are added along the first axis."""
    events = [(f, event) for f in script.functions for event in f.events if event.kind == "assign"]
    first = {(function.owner, event.name) for function, event in events if _takes_batch_first(function, event)}
    for function in script.functions if first else ():
        before = Unmoved(script, function)
        for at, event in enumerate(function.events):
            call = event.value
            if event.kind == "call" and call is not None and (function.owner, call.name) in first:
                modules = (
                    step for step in before.steps(call.argument(0), at) if step is not None and step.kind == "call"
                )
                forwards = (forward for step in modules for forward in before.forwards(step))
                yield from ((call.name, item) for forward in forwards for item in along_first(forward))


def _takes_batch_first(function: Function, event: Event) -> bool:
    """Whether a module is made with `batch_first=True`, or of a layer that is."""
    made = event.value if event.name.startswith("self.") and event.value is not None else Value("unknown")
    part = made.argument(0, "encoder_layer") if made.kind == "call" else None
    inner = bound(function, part.name) if part is not None and part.kind == "name" else part
    given = (
        value.argument(None, "batch_first") for value in (made, inner) if value is not None and value.kind == "call"
    )
    return any(value is not None and value.constant is True for value in given)


def is_batch_first(script: Script, layer: Layer) -> bool | None:
    """None where it cannot be read."""
    made = layer.made
    if made is not None and layer.short == "TransformerEncoder":
        given = made.argument(0, "encoder_layer")
        around = lookup.function(script, made.location) if made.location.path == script.path else None
        made = bound(around, given.name) if given is not None and around is not None and given.kind == "name" else given
    if made is None or made.unpacks or made.name not in POSITIONS:
        return None
    given = made.argument(POSITIONS[made.name], "batch_first")
    return False if given is None else bool(given.constant) if given.kind == "constant" else None


def _called(script: Script, first: bool) -> Iterator[tuple[Layer, Function, int]]:
    """The attentions that models apply and that take the batch first or not, with the function and the event of the call."""
    called = {layer.call: layer for model in script.models for layer in model.layers if layer.name in ATTENTIONS}
    for layer in called.values():
        for function in script.functions if is_batch_first(script, layer) is first else ():
            events = enumerate(function.events)
            at = next((i for i, e in events if e.value is layer.call and e.kind == "call"), None)
            if at is not None:
                yield layer, function, at


def _read(script: Script, function: Function, at: int, layer: Layer, call: Value) -> Iterator[Read]:
    place = next(_taken(function.events[at:], call, layer), None)
    before = Unmoved(script, function)
    sure = before.of(call.argument(0, "src"), at) if place is not None and len(call.arguments) > 0 else None
    if place is not None and sure is not None:
        yield Read(layer, place, sure)


def _taken(events: tuple[Event, ...], call: Value, layer: Layer) -> Iterator[Value]:
    """Where the second axis of what the call gives back is pooled, or its first or last item taken."""
    names = set[str]()

    def is_output(value: Value | None) -> bool:
        while value is not None and value.kind == "call" and value is not call and KEEPS.fullmatch(value.method):
            value = value.arguments[0] if value.arguments else value.receiver
        if value is None or (value.kind == "name" and value.name in names):
            return value is not None
        if layer.short == "MultiheadAttention":
            return value.kind == "item" and value.base is call and value.arguments[0].constant == 0
        return value is call

    for event in events:
        if event.value is not None:
            for part in event.value.within():
                subject = part.base if part.kind == "item" else pooled(part)
                if subject is not None and is_output(subject) and (part.kind == "call" or of_second(part) in (0, -1)):
                    yield part
            if event.kind == "assign":
                held = is_output(event.value)
                names.discard(event.name)
                names |= {event.name} if held else set()


def pooled(call: Value) -> Value | None:
    """What is reduced along its second axis."""
    library = call.name.startswith("torch.")
    if call.kind != "call" or call.method not in POOLS:
        return None
    axis = call.argument(int(library), "dim")
    subject = call.argument(0, "input") if library else call.receiver
    return subject if axis is not None and axis.kind == "constant" and axis.constant == 1 else None
