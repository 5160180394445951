"""What a value is: names followed through assignments, parameters, attributes, imports and returns to where it is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from modellint.core.record import replace

from .arguments import Arguments
from .callers import Callers
from .calls import Calls
from .code import Function, Value
from .configuration import Configuration
from .items import Items
from .members import Members
from .outside import Outside
from .project import Project
from .registry import Registry
from .results import Results
from .scope import Frame, Source, always, reaching
from .script import Script

DEEPEST = 25  # values followed one through another
LONGEST = 3000  # values looked at for one question
MOST_KNOWN = 20_000  # answers that are kept; each function that is followed has its own

Key = tuple[object, Frame, int | None]


class Resolver:
    """The one question: which values may this value be?

    Its answers are calls of constructors, calls of functions that cannot be read, constants, and names that nothing binds.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.arguments = Arguments(self)
        self.calls = Calls(self)
        self.callers = Callers(self)
        self.configuration = Configuration(self)
        self.items = Items(self)
        self.members = Members(self)
        self.outside = Outside(self)
        self.registry = Registry(self)
        self.results = Results(self)
        self._bindings: dict[int, dict[str, list[int]]] = {}
        self._frames: dict[int, Frame] = {}
        self._known: dict[Key, list[Source]] = {}
        self._active: dict[Key, int] = {}
        self._work = 0
        self._left: int | None = None  # values that may still be looked at; None: any number
        self._reopened = DEEPEST  # the outermost value that came back to itself

    def allow(self, values: int | None) -> None:
        """How many values may be looked at from now on; the others stay what they are."""
        self._left = values

    def forget(self) -> None:
        """Drops answers that may be needed no more; those to the next question are found anew."""
        if len(self._known) > MOST_KNOWN and not self._active:
            for answers in (self._known, self.calls.known, self.calls.entered, self.members.entered):
                answers.clear()

    @property
    def exhausted(self) -> bool:
        return self._left is not None and self._left < 0

    def frame(self, script: Script, function: Function) -> Frame:
        """A function whose caller is not known."""
        known = self._frames.get(id(function))
        if known is None:
            above = self.project.function(script, function.parent or "") if function.kind != "module" else None
            path = f"{script.path}:{function.name}" if function.name else ""
            known = Frame(script, function, outer=self.frame(script, above) if above else None, path=path)
            self._frames[id(function)] = known
        return known

    def module(self, script: Script) -> Frame:
        return self.frame(script, script.functions[0])

    def of(self, source: Source) -> list[Source]:
        return self.sources(source.value, source.frame, source.at)

    def sources(self, value: Value, frame: Frame, at: int | None = None) -> list[Source]:
        key = (value.name if value.kind == "name" else value, frame, at)
        known = self._known.get(key)
        if known is not None:
            return known
        if key in self._active:
            self._reopened = min(self._reopened, self._active[key])
        self._work = self._work + 1 if self._active else 0
        if self._left is not None:
            self._left -= 1
        if key in self._active or len(self._active) > DEEPEST or self._work > LONGEST or self.exhausted:
            return [Source(value, frame, at)]
        depth = self._active[key] = len(self._active)
        try:
            found = list(self._follow(Source(value, frame, at)))
            if len(found) > 1:
                found = list({(id(s.value), s.frame): s for s in found}.values())
        finally:
            del self._active[key]
        if self._reopened >= depth:  # else the answer is that of a value within a circle, seen from inside it
            self._reopened = DEEPEST
            self._known[key] = found
        return found

    def _follow(self, source: Source) -> Iterator[Source]:
        value = source.value
        if value.kind == "name":
            yield from self._name(source)
        elif value.kind == "call":
            yield from self.results.of(source)
        elif value.kind == "choice":
            yield from (found for option in value.arguments for found in self.of(source.of(option)))
        elif value.base is None:
            yield source
        elif value.kind == "attribute":
            bases = self.of(source.of(value.base))
            yield from [part for base in bases for part in self.members.of(base, value.name)] or [source]
        elif value.kind in ("item", "element"):
            yield from self.items.of(source)
        elif value.kind in ("context", "starred"):
            yield from self.of(source.of(value.base))
        else:
            yield source

    def _name(self, source: Source) -> Iterator[Source]:
        name, frame = source.value.name, source.frame
        found = self.bound(name, frame, source.at)
        head, _, attribute = name.rpartition(".")
        if not found and head == "self" and frame.method is not None:
            found = self.members.of_self(frame, attribute)
        elif not found and head == "self.hparams":
            found = self.members.saved(frame, attribute)
        elif not found and head.strip("."):
            bases = self.of(source.of(replace(source.value, name=head)))
            found = [part for base in bases if base.value.name != head for part in self.members.of(base, attribute)]
        yield from found or [source]

    def bound(self, name: str, frame: Frame, at: int | None = None) -> list[Source]:
        """What a dotted name is bound to as a whole: in the function, around it, in the module, in another file."""
        for scope in frame.around:
            given = name in scope.arguments
            known = given or ("." not in name and any(p.name == name for p in scope.function.parameters))
            indices = self.assignments(scope.function).get(name, [])
            places = reaching(scope.function, indices, at) or ([] if known else indices)
            found = [found for place in places for found in self.assigned(place, scope)]
            if scope.function.kind == "module":
                found += self.outside.shared(name, scope)
            if (
                always(scope.function, places, at)
                or (name == "self" and not given)
                or ((places or found) and not known)
            ):
                return found
            if given:
                return found + self.of(scope.arguments[name])
            if known:
                passed = self.callers.given(name, scope)
                return found + passed if passed or not found else [*found, Source(Value("unknown", name), scope)]
            at = None
        return self.outside.imported(name, frame.script)

    def assigned(self, index: int, frame: Frame) -> list[Source]:
        value = frame.function.events[index].value
        return self.sources(value, frame, index) if value is not None else []

    def assignments(self, function: Function) -> dict[str, list[int]]:
        """The events that bind each name of a function."""
        table = self._bindings.get(id(function))
        if table is None:
            table = defaultdict(list)
            for index, event in enumerate(function.events):
                if event.kind in ("assign", "augment"):
                    table[event.name].append(index)
            self._bindings[id(function)] = table
        return table
