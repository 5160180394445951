"""Names that are bound outside of their function and its module: by functions that declare them `global`, in other files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .code import Value
from .scope import Frame, Source
from .script import Script

if TYPE_CHECKING:
    from .resolve import Resolver

# Files whose names one file may import all: each is parsed for a name, and a list of all models has hundreds.
MOST_STARS = 40


class Outside:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._stars: dict[int, tuple[str, ...]] = {}
        self._globals: dict[int, list[Frame]] = {}

    def imported(self, name: str, script: Script) -> list[Source]:
        """What a name is bound to that the file imports, by itself or with all names of another file."""
        if self.resolver.project.imported(script, name):
            return self._from(script, name)
        stars = self._stars.get(id(script))
        if stars is None:
            found = tuple([module for key, module in script.imports.items() if key.startswith("*")])
            stars = self._stars[id(script)] = found if len(found) <= MOST_STARS else ()
        return next(filter(None, (self._from(script, f"{star}.{name}") for star in stars)), [])

    def _from(self, script: Script, name: str) -> list[Source]:
        """What a name is bound to in another file."""
        located = self.resolver.project.locate(script, name)
        if located is None:
            return []
        other, rest = located
        found = self.resolver.sources(Value("name", rest), self.resolver.module(other))
        return [s for s in found if s.value.kind != "name" or s.value.name != rest] or self._handed_on(other, rest)

    def _handed_on(self, script: Script, name: str) -> list[Source]:
        """What a file imports in its turn: `from .small import Net` in a package's `__init__`."""
        head, dot, rest = name.partition(".")
        if head not in script.imports or script.imports[head] == head:
            return []
        full = f"{script.imports[head]}{dot}{rest}"
        found = self.resolver.sources(Value("name", full), self.resolver.module(script))
        return [s for s in found if s.value.kind != "name" or not s.value.name.startswith(".")]

    def shared(self, name: str, module: Frame) -> list[Source]:
        """What functions bind a name of the module to that they declare `global`."""
        places = (
            (frame, index)
            for frame in self._declaring(module)
            if any(event.kind == "global" and event.name == name for event in frame.function.events)
            for index in self.resolver.assignments(frame.function).get(name, ())
        )
        return [found for frame, index in places for found in self.resolver.assigned(index, frame)]

    def _declaring(self, module: Frame) -> list[Frame]:
        """The functions that declare some name `global`."""
        known = self._globals.get(id(module.function))
        if known is None:
            functions = (f for f in module.script.functions if any(event.kind == "global" for event in f.events))
            known = [self.resolver.frame(module.script, function) for function in functions]
            self._globals[id(module.function)] = known
        return known
