"""Collections: what an item of a tuple, list, dict or ModuleList is."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from .branches import arms
from .code import Function, Value
from .scope import Frame, Source
from .vocabulary import PASSES_TUPLE

if TYPE_CHECKING:
    from .resolve import Resolver

DEEPEST = 30  # collections within collections
LONGEST = 500  # collections looked at for one question: sums of tensors look like sums of lists
LISTS = ("tuple", "list", "set")
CONTAINERS = ("torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict", "torch.nn.ParameterList")
GROWING = {"append": 0, "add": 0, "insert": 1, "add_module": 1, "extend": 0}


class Items:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
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

    def inherited(self, made: Source) -> Source | None:
        """For an object of a class that derives from Sequential: the call that gives Sequential its modules."""
        for script, class_ in self.resolver.members.classes(made) if made.value.kind == "call" else ():
            if "torch.nn.Sequential" in map(str, class_.bases):
                frames = self.resolver.members.methods(script, class_, "__init__", made)
                return next((given for frame in frames for given in _handed_up(frame)), None)
        return None

    def _added(self, made: Source) -> Iterator[Source]:
        """What is appended to a list that was bound to a name, until the name is bound anew."""
        for name, start, end in self._lives(made):
            scopes = [made.frame]
            if name.startswith("self."):
                beside = self.resolver.members.beside(made.frame)
                scopes += [frame for frame in beside if frame.function is not made.frame.function]
            for scope in scopes:
                for at, call in growing(scope.function).get(name, ()):
                    if start < at < end or scope is not made.frame:
                        yield from self._grown(Source(call, scope, at))

    def _lives(self, made: Source) -> Iterator[tuple[str, int, int]]:
        """The names that a value is bound to, and between which events."""
        function = made.frame.function
        for name, start in _bound(function).get(id(made.value), ()):
            places = self.resolver.assignments(function)[name]
            later = bisect_right(places, start)
            yield name, start, places[later] if later < len(places) else len(function.events)

    def _grown(self, source: Source) -> Iterator[Source]:
        position = GROWING.get(source.value.method)
        item = source.value.argument(position) if position is not None else None
        if item is not None:
            yield from self.all(source.of(item)) if source.value.method == "extend" else (source.of(item),)

    def vary(self, made: Source) -> bool:
        """Whether some items of a container are put into it, or into the list that it is made of, on some paths only."""
        function = made.frame.function
        names = {e.name for e in function.events if e.kind == "assign" and e.value is made.value}
        names |= {part.name for argument in made.value.arguments for part in argument.within() if part.kind == "name"}
        places = (at for name in names for at in self.resolver.assignments(function).get(name, ()))
        grown = (at for name in names for at, _ in growing(function).get(name, ()))
        changes = (function.events[at] for at in (*places, *grown))
        return any(arms(function, event.block) for event in changes if event.value is not made.value)


@lru_cache(1000)
def _bound(function: Function) -> Mapping[int, list[tuple[str, int]]]:
    """The names that each value is bound to, and where."""
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for at, event in enumerate(function.events):
        if event.kind in ("assign", "augment"):
            found[id(event.value)].append((event.name, at))
    return found


@lru_cache(1000)
def growing(function: Function) -> Mapping[str, list[tuple[int, Value]]]:
    """The calls that give a collection items, by its name, and where they are."""
    found: dict[str, list[tuple[int, Value]]] = defaultdict(list)
    for at, event in enumerate(function.events):
        if event.kind == "call" and event.value is not None and event.value.method in GROWING:
            found[event.value.name.rpartition(".")[0]].append((at, event.value))
    return found


def _handed_up(frame: Frame) -> Iterator[Source]:
    """What `super().__init__(...)` gives a Sequential, as one that is made there."""
    for at, event in enumerate(frame.function.events):
        call = event.value if event.kind == "call" else None
        if call is not None and call.method == "__init__" and "super" in str(call.base):
            given = Value("call", "torch.nn.Sequential", arguments=call.arguments, location=call.location)
            yield Source(given, frame, at)
