"""Back from a value to what made it: the operations on the way, the last one first."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Value
from .facts import Operation
from .items import CONTAINERS
from .resolve import Resolver
from .scope import Callee, Frame, Source
from .vocabulary import INPUTS

LONGEST = 60  # operations
CHOICES = frozenset({"max", "min", "topk", "sort"})  # give values and their positions


class Dataflow:
    """Follows the first argument: of a layer and of a function the tensor, of a sum the first summand."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def back(self, source: Source) -> tuple[Operation, ...]:
        return tuple(op for op, _ in zip(self._back(source, True, ()), range(LONGEST), strict=False))

    def _back(self, source: Source, certain: bool, seen: tuple[tuple[Value, Frame], ...]) -> Iterator[Operation]:
        found = [s for s in self.resolver.of(source) if s.value.kind != "constant"]
        for made in found[:1]:
            if (made.value, made.frame) not in seen and len(seen) < LONGEST:
                yield from self._made(made, certain and len(found) == 1, (*seen, (made.value, made.frame)))

    def _made(self, made: Source, certain: bool, seen: tuple[tuple[Value, Frame], ...]) -> Iterator[Operation]:
        value = made.value
        if value.kind == "call":
            yield from self._called(made, certain, seen)
        elif value.kind == "operation":
            yield Operation(value.name, value.location, certain)
            first = next((a for a in value.arguments if a.kind != "constant"), None)
            yield from self._back(made.of(first), certain, seen) if first is not None else ()
        elif value.kind == "tuple" and value.arguments:
            yield from self._back(made.of(value.arguments[0]), certain, seen)
        elif value.kind in ("item", "attribute") and value.base is not None:
            if _chosen(value):
                yield Operation("argmax", value.location, certain, call=value.base)
            yield from self._back(made.of(value.base), certain, seen)

    def _called(self, made: Source, certain: bool, seen: tuple[tuple[Value, Frame], ...]) -> Iterator[Operation]:
        call = made.value
        callees = self.resolver.calls.callees(made)
        callee, certain = next(iter(callees), Callee("")), certain and len(callees) <= 1
        if callee.made is not None:
            yield from self._module(callee, call, certain)
        else:
            name = callee.name if callee.name.startswith("torch.") or call.receiver is None else call.method
            yield Operation(name, call.location, certain, call=call)
        given = _input(call, callee)
        yield from self._back(made.of(given), certain, seen) if given is not None else ()

    def _module(self, callee: Callee, call: Value, certain: bool) -> Iterator[Operation]:
        """What a module that is called does; a container's modules, the last one first."""
        assert callee.made is not None
        if callee.name not in CONTAINERS:
            yield Operation(callee.name, call.location, certain, callee.made.value.location, callee.made.value)
            return
        certain = certain and not self.resolver.items.growth.varies(callee.made)
        for item in reversed(list(self.resolver.items.all(callee.made))):
            for made in self.resolver.of(item)[:1]:
                for inner in self.resolver.calls.callees(made)[:1]:
                    if inner.class_ is not None:
                        yield from self._standalone(made, certain)
                    else:
                        yield Operation(inner.name, call.location, certain, made.value.location, made.value)

    def _standalone(self, made: Source, certain: bool) -> Iterator[Operation]:
        """What a project's module does when its input is the output of the module before it."""
        source = made.of(Value("call", base=made.value, location=made.value.location))
        for callee in self.resolver.calls.callees(source)[:1]:
            frame = self.resolver.calls.enter(callee, source)
            for result in self.resolver.results.returned(frame)[:1] if frame is not None else ():
                yield from self._back(result, certain, ())


def _input(call: Value, callee: Callee) -> Value | None:
    """The tensor that a call works on: the object of a tensor's method, else the first argument."""
    if callee.made is None and not callee.name.startswith("torch.") and call.receiver is not None:
        return call.receiver
    return next((found for name in INPUTS if (found := call.argument(None, name)) is not None), call.argument(0))


def _chosen(value: Value) -> bool:
    """The positions that `max(1)` and the like give besides the values: `[1]`, `.indices`."""
    call, position = value.base, next(iter(value.arguments), None)
    if call is None or call.kind != "call" or call.method not in CHOICES:
        return False
    second = position is not None and position.constant == 1 and position.kind == "constant"
    axis = call.argument(int(call.name.startswith("torch.")), "dim")
    return (second or value.name == "indices") and axis is not None
