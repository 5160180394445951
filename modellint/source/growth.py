"""How collections grow: the calls that put items into a list, a set or a container of modules."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from .branches import arms
from .code import Function, Value
from .scope import Source

if TYPE_CHECKING:
    from .resolve import Resolver

GROWING = {"append": 0, "add": 0, "insert": 1, "add_module": 1, "extend": 0}  # which argument is the item


class Growth:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, made: Source) -> Iterator[Source]:
        """The calls that put something into a collection that was bound to a name, until the name is bound anew."""
        for name, start, end in self._lives(made):
            scopes = [made.frame]
            if name.startswith("self."):
                beside = self.resolver.members.beside(made.frame)
                scopes += [frame for frame in beside if frame.function is not made.frame.function]
            for scope in scopes:
                for at, call in growing(scope.function).get(name, ()):
                    if start < at < end or scope is not made.frame:
                        yield Source(call, scope, at)

    def _lives(self, made: Source) -> Iterator[tuple[str, int, int]]:
        """The names that a value is bound to, and between which events."""
        function = made.frame.function
        for name, start in _bound(function).get(id(made.value), ()):
            places = self.resolver.assignments(function)[name]
            later = bisect_right(places, start)
            yield name, start, places[later] if later < len(places) else len(function.events)

    def varies(self, made: Source) -> bool:
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
