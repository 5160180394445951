"""Callers: from where a function is called, and what its parameters are given there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .code import Function, Value
from .scope import Frame, Source
from .script import Script

if TYPE_CHECKING:
    from .resolve import Resolver

MOST_CALLERS = 8  # whose arguments a parameter may have
MOST_SITES = 40  # calls of the right name that are looked at


class Callers:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._sites: dict[str, list[tuple[Script, Function, int, Value]]] = defaultdict(list)
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
        sites = (site for site in self._calls_of(name) if self._may_reach(site, frame))
        for place, _ in zip(sites, range(MOST_SITES), strict=False):
            for callee in self.resolver.calls.callees(place):
                if made and callee.class_ is not None and callee.class_.name == function.owner:
                    yield self.resolver.members.method(frame.script, function, place)
                elif callee.function is function and (entered := self.resolver.calls.enter(callee, place)) is not None:
                    yield entered

    def _may_reach(self, site: Source, frame: Frame) -> bool:
        """Whether a call of the right name may call the function: by its bare name only in its file or where imported."""
        script, call = site.frame.script, site.value
        if site.frame.function is frame.function:
            return False
        if script is frame.script or "." in call.name or call.base is not None:
            return True
        return self.resolver.project.imported(script, call.name) or any(name.startswith("*") for name in script.imports)

    def _calls_of(self, name: str) -> list[Source]:
        scripts = self.resolver.project.scripts
        for script in scripts[self._read :]:
            for function in script.functions:
                for index, event in enumerate(function.events):
                    if event.kind == "call" and event.value is not None:
                        self._sites[event.value.method].append((script, function, index, event.value))
        self._read = len(scripts)
        return [
            Source(call, self.resolver.frame(script, function), i) for script, function, i, call in self._sites[name]
        ]
