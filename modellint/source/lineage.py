"""Back from a value to all that it was computed from, as far as gradients flow: a tree where `dataflow` is a line."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Value
from .gradient import recorded
from .growth import growing
from .resolve import Resolver
from .scope import Frame, Source, reaching
from .script import Script

LONGEST = 400  # values of one lineage
# Where gradients end: methods and functions that give numbers, positions or a copy without a graph.
CUTS = frozenset(
    {
        "detach", "detach_", "item", "tolist", "numpy", "float", "int", "bool", "len", "range", "str", "size", "dim",
        "argmax", "argmin", "argsort", "numel", "zeros", "zeros_like", "ones", "ones_like", "rand", "rand_like",
        "randn", "randn_like", "tensor", "as_tensor", "arange", "randint", "multinomial", "sample",
    }
)  # fmt: skip
SOFT = frozenset({"detach", "detach_", "item", "numpy", "tolist", "tensor", "as_tensor"})  # the same values, cut off
TYPES = frozenset({"float"})  # a number as a function; as a method of a tensor it only changes its type
PLAIN = frozenset({"data", "shape", "device", "dtype", "grad"})  # attributes without a graph
PACKS = ("pack_padded_sequence", "pack_sequence")


class Lineage:
    """With `beyond` it goes on where the same values are only cut off their graph: behind `detach()`, in `no_grad`."""

    def __init__(self, resolver: Resolver, beyond: bool = False) -> None:
        self.resolver = resolver
        self.beyond = beyond

    def of(self, source: Source) -> tuple[Source, ...]:
        """The calls and operations that the value was computed from, each once, those nearest to it first."""
        found: dict[tuple[int, Frame], Source] = {}
        waiting = [source]
        while waiting and len(found) < LONGEST:
            made = waiting.pop()
            key = id(made.value), made.frame
            if key not in found:
                found[key] = made
                waiting.extend(reversed(list(self._parts(made))))
        return tuple(made for made in found.values() if made.value.kind in ("call", "operation"))

    def results(self, made: Source) -> Iterator[Source]:
        """What a function of the project, or an object that is called, returns."""
        for callee in self.resolver.calls.callees(made)[:1]:
            called = callee.function is not None and callee.function.name.endswith(".__call__")  # of no module
            frame = self.resolver.calls.enter(callee, made) if callee.made is None or called else None
            yield from self._results(frame) if frame is not None else ()

    def _parts(self, made: Source) -> Iterator[Source]:
        value = made.value
        if value.kind == "name":
            yield from self._name(made)
        elif value.kind == "call":
            yield from self._call(made) if not self._cuts(value) else ()
        elif value.kind == "attribute" and self._ends(made, value.name):
            return
        elif value.kind == "item" and (picked := self._picked(made)):
            yield from picked
        else:
            cut = value.kind == "comprehension" and all(map(self._cuts, value.arguments))  # `[x.detach() for x in xs]`
            parts = (value.base, *value.arguments, *(item for _, item in value.keywords)) if not cut else ()
            yield from (made.of(part) for part in parts if part is not None)

    def _ends(self, made: Source, attribute: str) -> bool:
        """Whether an attribute has no graph."""
        data = attribute == "data" and (self.beyond or packs(made.frame.script))
        return attribute in PLAIN and not data

    def _picked(self, made: Source) -> list[Source]:
        """One of several values that a function of the project returns together; none if that cannot be told."""
        call, index = made.value.base, made.value.arguments[0].constant if made.value.arguments else None
        if call is None or call.kind != "call" or type(index) is not int:
            return []
        returned = list(self.results(made.of(call)))
        if any(not _holds(found.value, index) for found in returned):
            return []
        return [found.of(found.value.arguments[index]) for found in returned]

    def _cuts(self, call: Value) -> bool:
        typed = call.method in TYPES and call.receiver is not None
        soft = call.method in SOFT or call.name.startswith("numpy.")
        return call.kind == "call" and (soft or call.method in CUTS) and not typed and not (self.beyond and soft)

    def _call(self, made: Source) -> Iterator[Source]:
        """Through a function of the project; a module and a library's function depend on all that they are given."""
        call = made.value
        for callee in self.resolver.calls.callees(made):
            frame = self.resolver.calls.enter(callee, made) if callee.made is None else None
            if frame is not None:
                yield from self._results(frame)
                return
        receiver = call.receiver
        if receiver is not None and (call.base is not None or not receiver.name.startswith("torch")):
            yield made.of(receiver)
        yield from (made.of(part) for part in (*call.arguments, *(item for _, item in call.keywords)))

    def _name(self, made: Source) -> Iterator[Source]:
        name = made.value.name
        bound = list(self.bound(name, made))
        head, _, attribute = name.rpartition(".")
        if not bound and head not in ("", "self") and not self._ends(made, attribute):
            yield made.of(Value("name", head, location=made.value.location))
        yield from bound

    def bound(self, name: str, made: Source) -> Iterator[Source]:
        """What a name may hold: all that is assigned to it, and that a list of this name is grown by."""
        at = made.at
        for scope in made.frame.around:
            places = reaching(scope.function, self.resolver.assignments(scope.function).get(name, []), at)
            if places:
                yield from self._assigned(scope, places)
                yield from _grown(scope, name)
                return
            if name in scope.arguments:
                yield scope.arguments[name]
                return
            at = None
        if name.startswith("self."):
            yield from self._attribute(name, made.frame)

    def _attribute(self, name: str, frame: Frame) -> Iterator[Source]:
        """What the other methods of the object assign to the attribute, or append to it."""
        for scope in self.resolver.members.beside(frame):
            yield from self._assigned(scope, self.resolver.assignments(scope.function).get(name, []))
            yield from _grown(scope, name)

    def _assigned(self, scope: Frame, places: list[int]) -> Iterator[Source]:
        for place in places:
            event = scope.function.events[place]
            if event.value is not None and (self.beyond or recorded(scope.function, event.block) is not False):
                yield Source(event.value, scope, place)

    def _results(self, frame: Frame) -> Iterator[Source]:
        returns = [at for at, event in enumerate(frame.function.events) if event.kind == "return"]
        yield from self._assigned(frame, returns)


def packs(script: Script) -> bool:
    """Whether sequences are packed in a file: their `data` is what they hold, with its graph."""
    return not script.called.isdisjoint(PACKS)


def _holds(value: Value, index: int) -> bool:
    """Whether it is a tuple as it is written, with an item at that place."""
    return value.kind == "tuple" and 0 <= index < len(value.arguments) and not value.unpacks


def _grown(scope: Frame, name: str) -> Iterator[Source]:
    """What is appended to the list of this name."""
    calls = growing(scope.function).get(name, ())
    return (Source(call, scope, at) for at, call in calls if call.method != "add_module")
