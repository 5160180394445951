"""Collections: what an item of a tuple, list, dict or ModuleList is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .code import Value
from .growth import GROWING, Growth
from .scope import Frame, Source
from .vocabulary import PASSES_TUPLE

if TYPE_CHECKING:
    from .resolve import Resolver

DEEPEST = 30  # collections within collections
LONGEST = 500  # collections looked at for one question: sums of tensors look like sums of lists
LISTS = ("tuple", "list", "set")
CONTAINERS = ("torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict", "torch.nn.ParameterList")


class Items:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.growth = Growth(resolver)
        self._active: list[tuple[Value, Frame]] = []
        self._work = 0

    def of(self, source: Source) -> Iterator[Source]:
        """One item where the index is known, else each of them."""
        value = source.value
        assert value.base is not None
        index = self._index(source) if value.kind == "item" else None
        if value.base.kind == "name" and value.kind == "item":
            stored = self.resolver.bound(
                f"{value.base.name}[{'' if index is None else index}]", source.frame, source.at
            )
            if stored:
                yield from stored
                return
        items = list(self.all(source.of(value.base), index))
        yield from [found for item in items for found in self.resolver.of(item)] or [source]

    def _index(self, source: Source) -> object:
        """The constant, or the one string that a name stands for."""
        written = source.value.arguments[0]
        if written.kind == "constant":
            return written.constant
        found = self.resolver.of(source.of(written)) if written.kind == "name" else []
        constant = found[0].value.constant if len(found) == 1 and found[0].value.kind == "constant" else None
        return constant if isinstance(constant, str) else None

    def all(self, source: Source, index: object = None) -> list[Source]:
        """The items of a collection, in order; with an index that one."""
        key = source.value, source.frame
        self._work = self._work + 1 if self._active else 0
        if key in self._active or len(self._active) > DEEPEST or self._work > LONGEST:
            return []
        self._active.append(key)
        try:
            lists = self.resolver.of(source)
            written = (item for made in lists for item in self._written(made, index))
            return [*written, *(item for made in lists if index is None for item in self._added(made))]
        finally:
            self._active.pop()

    def _written(self, made: Source, index: object) -> Iterator[Source]:
        value = made.value
        if value.kind == "call" and value.name == "zip":
            yield made.of(Value("tuple", arguments=tuple(Value("element", base=a) for a in value.arguments)))
        elif value.kind == "call" and value.name == "enumerate" and value.arguments:
            pair = (Value("unknown"), Value("element", base=value.arguments[0]))
            yield made.of(Value("tuple", arguments=pair))
        elif value.kind == "call" and value.name in CONTAINERS:
            yield from self._contained(made, index)
        elif value.kind in LISTS or (value.kind == "call" and value.method in PASSES_TUPLE):
            yield from self._listed(made, index)
        elif value.kind == "dict" or (value.kind == "call" and value.name in ("dict", "collections.OrderedDict")):
            yield from (made.of(item) for key, item in value.keywords if index is None or key == index)
            yield from (item for argument in value.arguments for item in self._pairs(made.of(argument), index))
        elif value.kind == "call" and value.method in ("values", "items") and value.receiver is not None:
            pairs = self.all(made.of(value.receiver))
            yield from (
                (p.of(Value("tuple", arguments=(Value("unknown"), p.value))) for p in pairs)
                if value.method == "items"
                else pairs
            )
        elif value.kind == "comprehension":
            yield from (made.of(item) for item in value.arguments)
        elif value.kind == "operation" and value.name in ("+", "*"):
            lists = (part for part in value.arguments if value.name == "+" or part.kind in LISTS)
            yield from (item for part in lists for item in self.all(made.of(part)))

    def _pairs(self, made: Source, index: object) -> Iterator[Source]:
        """The values of a list of (key, value) pairs."""
        for item in self.all(made):
            for pair in self.resolver.of(item):
                if pair.value.kind == "tuple" and len(pair.value.arguments) == 2:
                    key, value = pair.value.arguments
                    if index is None or key.constant == index:
                        yield pair.of(value)

    def _listed(self, made: Source, index: object) -> Iterator[Source]:
        items = made.value.arguments
        if isinstance(index, str):  # the name of an attribute or a method, of no item
            return
        if isinstance(index, int) and not made.value.unpacks:
            yield from (made.of(item) for item in items[index : index + 1 or None])
            return
        for item in items:
            yield from self.all(made.of(item.base)) if item.kind == "starred" and item.base else (made.of(item),)

    def _contained(self, made: Source, index: object) -> Iterator[Source]:
        """The modules of a container: its arguments, or the items of the list or dict that it is given."""
        items = made.value.arguments
        given = self.resolver.of(made.of(items[0])) if len(items) == 1 and items[0].kind != "starred" else []
        held = (*LISTS, "dict", "comprehension", "operation")
        lists = [s for s in given if s.value.kind in held or s.value.name in ("dict", "collections.OrderedDict")]
        if lists or made.value.name == "torch.nn.ModuleList":
            yield from (self.all(made.of(items[0]), index) if items else ())
        else:
            yield from self._listed(made, index)

    def _added(self, made: Source) -> Iterator[Source]:
        for put in self.growth.of(made):
            item = put.value.argument(GROWING[put.value.method])
            if item is not None:
                yield from self.all(put.of(item)) if put.value.method == "extend" else (put.of(item),)

    def inherited(self, made: Source) -> Source | None:
        """For an object of a class that derives from Sequential: the call that gives Sequential its modules."""
        for script, class_ in self.resolver.members.classes(made) if made.value.kind == "call" else ():
            if "torch.nn.Sequential" in map(str, class_.bases):
                frames = self.resolver.members.methods(script, class_, "__init__", made)
                return next((given for frame in frames for given in _handed_up(frame)), None)
        return None


def _handed_up(frame: Frame) -> Iterator[Source]:
    """What `super().__init__(...)` gives a Sequential, as one that is made there."""
    for at, event in enumerate(frame.function.events):
        call = event.value if event.kind == "call" else None
        if call is not None and call.method == "__init__" and "super" in str(call.base):
            given = Value("call", "torch.nn.Sequential", arguments=call.arguments, location=call.location)
            yield Source(given, frame, at)
