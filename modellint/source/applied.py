"""Where the modules of the project are called, and what the parameters of their forward are given there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from .code import Event
from .resolve import Resolver
from .scope import Frame, Source

MOST_SITES = 40  # calls of the right name that are looked at


class Applied:
    """By what holds it, `self.encoder(x)`, `for block in self.blocks: block(x)`, or where it is made, `Encoder()(x)`."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def given(self, parameter: str, frame: Frame) -> list[Source]:
        """What a parameter of a forward is given where an object of its class is called."""
        frames = self._frames(frame) if frame.function.name.endswith(".forward") else ()
        return [entered.arguments[parameter] for entered in frames if parameter in entered.arguments]

    def _frames(self, frame: Frame) -> Iterator[Frame]:
        kind = (frame.function.owner or "").rpartition(".")[2]
        names = (f"{kind}()", *sorted(self._holders.get(kind, ())))
        sites = [site for name in names for site in self._sites[name]]
        for site in sites[:MOST_SITES]:
            for callee in self.resolver.calls.callees(site):
                entered = self.resolver.calls.enter(callee, site) if callee.function is frame.function else None
                if entered is not None and site.frame.function is not frame.function:
                    yield entered

    @cached_property
    def _sites(self) -> dict[str, list[Source]]:
        """The calls by the names of what may hold a module."""
        table, held = defaultdict[str, list[Source]](list), {n for names in self._holders.values() for n in names}
        for at, event, frame in self._events("call"):
            call = event.value
            if call is not None and call.method in held:
                table[call.method].append(Source(call, frame, at))
            elif call is not None and not call.name and call.base is not None and call.base.kind == "call":
                table[f"{call.base.method}()"].append(Source(call, frame, at))
        return table

    @cached_property
    def _holders(self) -> dict[str, set[str]]:
        """By the classes whose objects may be called so, the names of variables and attributes."""
        table, elements = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
        classes = {c.name.rpartition(".")[2] for script in self.resolver.project.scripts for c in script.classes}
        for _, event, _ in self._events("assign"):
            name, value = event.name.rpartition(".")[2], event.value
            if value is not None and value.kind in ("element", "item") and value.base is not None:
                elements[value.base.method].add(name)
            elif value is not None:
                for part in value.within():
                    if part.kind == "call" and part.method in classes:
                        table[part.method].add(name)
        return {kind: names.union(*(elements[name] for name in names)) for kind, names in table.items()}

    def _events(self, kind: str) -> Iterator[tuple[int, Event, Frame]]:
        for script in list(self.resolver.project.scripts):
            for function in script.functions:
                frame = self.resolver.frame(script, function)
                yield from ((at, event, frame) for at, event in enumerate(function.events) if event.kind == kind)
