"""Layers of a class that are applied one right after the other, as its `forward` is written."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.pattern import pattern

from .code import Function, Value
from .script import Script

IDLE = pattern(r"torch\.nn\.(Identity|Dropout|Flatten)")
ARRANGES = frozenset("dropout view reshape flatten contiguous float half to squeeze unsqueeze".split())


def pairs(script: Script, kind: str) -> Iterator[tuple[Value, Value, Value, Value]]:
    """Two layers of a kind with nothing but dropout between them: the call of the second one, what makes the first and the second
    layer, and the call of the first one."""
    for forward in script.functions:
        if forward.owner is not None and forward.name == f"{forward.owner}.forward":
            layers = _layers(script, forward.owner)
            if sum(made.name == kind for made in layers.values()) > 1:
                yield from _of(forward, layers, kind)


def _of(forward: Function, layers: dict[str, Value], kind: str) -> Iterator[tuple[Value, Value, Value, Value]]:
    for at, event in enumerate(forward.events):
        call = event.value if event.kind == "call" else None
        second = layers.get(call.name) if call is not None and call.base is None else None
        if call is None or second is None or second.name != kind or len(call.arguments) != 1:
            continue
        before = _before(forward, layers, call.arguments[0], at)
        first = layers.get(before.name) if before is not None else None
        alone = before is not None and sum(c.name in (call.name, before.name) for c in forward.calls) == 2
        if before is not None and first is not None and first.name == kind and alone:
            yield call, first, second, before


def _before(forward: Function, layers: dict[str, Value], value: Value, at: int) -> Value | None:
    """The call of a layer that made a value, where nothing else is done with what it gave."""
    while True:
        if value.kind == "name":
            bound = next((i for i in range(at - 1, -1, -1) if forward.events[i].name == value.name), None)
            made = forward.events[bound] if bound is not None else None
            if made is None or bound is None or made.kind != "assign" or made.value is None:
                return None
            if made.block != forward.events[at].block or _uses(forward, value.name, bound) != 1:
                return None
            value, at = made.value, bound
        elif value.kind == "call" and value.base is None and value.name in layers:
            if not IDLE.fullmatch(layers[value.name].name) or len(value.arguments) != 1:
                return value
            value = value.arguments[0]
        elif value.kind == "call" and value.method in ARRANGES:
            inner = next(iter(value.arguments), None) if value.name.startswith("torch.") else value.receiver
            if inner is None:
                return None
            value = inner
        else:
            return None


def _uses(function: Function, name: str, bound: int) -> int:
    """How often statements read what a name was bound to by an event, until it is bound anew."""
    count = 0
    for event in function.events[bound + 1 :]:
        if event.kind != "call" and event.value is not None:
            count += sum(name in (part.name, part.name.partition(".")[0]) for part in event.value.within())
        if event.kind in ("assign", "delete") and event.name == name:
            break
    return count


def _layers(script: Script, owner: str) -> dict[str, Value]:
    """What the attributes of a class hold, of those that are made once."""
    near = (e for f in script.functions if f.owner == owner for e in f.events if e.kind == "assign")
    found: dict[str, list[Value]] = {}
    for event in near:
        if event.name.startswith("self.") and event.value is not None and event.value.kind == "call":
            found.setdefault(event.name, []).append(event.value)
    return {name: made[0] for name, made in found.items() if len(made) == 1}
