"""Callers: from where a function is called, and what its parameters are given there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING

from .code import Function, Value
from .scope import Frame, Source
from .script import Script

if TYPE_CHECKING:
    from .resolve import Resolver

Site = tuple[int, Script, Function, int, Value]
MOST_CALLERS = 8  # whose arguments a parameter may have
MOST_SITES = 40  # calls of the right name that are looked at


class Callers:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._sites: dict[tuple[str, int | None], list[Site]] = defaultdict(list)  # by name and, of a bare one, script
        self._count = 0
        self._read = 0  # scripts whose calls are known

    def given(self, parameter: str, frame: Frame) -> list[Source]:
        """What the callers of a function give a parameter, as far as they are known; else its default."""
        callers = [caller for caller, _ in zip(self.of(frame), range(MOST_CALLERS), strict=False)]
        found = [s for c in callers if parameter in c.arguments for s in self.resolver.of(c.arguments[parameter])]
        defaults = [p.default for p in frame.function.parameters if p.name == parameter and p.default is not None]
        return found or [
            s for value in defaults for s in self.resolver.sources(value, self.resolver.module(frame.script))
        ]

    def of(self, frame: Frame) -> Iterator[Frame]:
        """Frames of the function (for __init__: of its class) for each call of it in the scripts loaded by now."""
        function = frame.function
        made = function.name.rpartition(".")[2] == "__init__"
        name = (function.owner or "").rpartition(".")[2] if made else function.name.rpartition(".")[2]
        places = (place for place in self._calls_of(name, frame.script) if place.frame.function is not function)
        for place, _ in zip(places, range(MOST_SITES), strict=False):
            for callee in self.resolver.calls.callees(place):
                if made and callee.class_ is not None and callee.class_.name == function.owner:
                    yield self.resolver.members.method(frame.script, function, place)
                elif callee.function is function and (entered := self.resolver.calls.enter(callee, place)) is not None:
                    yield entered

    def _calls_of(self, name: str, script: Script) -> Iterator[Source]:
        """The calls of the right name that may call what the script holds."""
        self._catch_up()
        wide, own = self._sites[name, None], self._sites[name, id(script)]
        for _, other, function, index, call in merge(wide, own, key=itemgetter(0)):
            yield Source(call, self.resolver.frame(other, function), index)

    def _catch_up(self) -> None:
        scripts = self.resolver.project.scripts
        new, self._read = scripts[self._read :], len(scripts)
        for script in new:
            stars = any(name.startswith("*") for name in script.imports)
            for function in script.functions:
                for index, event in enumerate(function.events):
                    if event.kind == "call" and (call := event.value) is not None:
                        key = call.method, None if stars or self._is_wide(call, script) else id(script)
                        self._sites[key].append((self._count, script, function, index, call))
                        self._count += 1

    def _is_wide(self, call: Value, script: Script) -> bool:
        """Whether it may call what is in other files: a bare name does so only where it is imported."""
        return "." in call.name or call.base is not None or self.resolver.project.imported(script, call.name)
