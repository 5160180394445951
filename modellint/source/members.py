"""Attributes: what `object.name` is, by the classes of the project that the object may belong to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modellint.core.record import replace

from .code import Class, Function, Value
from .items import CONTAINERS
from .scope import Frame, Source
from .script import Script

if TYPE_CHECKING:
    from .resolve import Resolver

PROPERTIES = frozenset({"property", "cached_property"})
FIELDS = frozenset({"field", "Field"})


class Members:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.entered: dict[tuple[int, Source | None], Frame] = {}
        self._selves: dict[int, Source | None] = {}

    def of(self, base: Source, name: str) -> list[Source]:
        value, script = base.value, base.frame.script
        if value.kind == "call" and value.name == "super":
            return list(self._inherited(base.frame, name))
        if value.kind == "call":
            found = [part for owner, class_ in self.classes(base) for part in self._part(owner, class_, name, base)]
            if base.value.name in CONTAINERS:
                found = [part for item in self.resolver.items.all(base, name) for part in self.resolver.of(item)]
            return found or self.resolver.configuration.of(base, name)
        if value.kind == "class" and (class_ := self.resolver.project.class_(script, value.name)) is not None:
            return list(self.member(script, class_, name, None))
        return self.of_self(base.frame, name) if value.kind == "name" and value.name == "self" else []

    def of_self(self, frame: Frame, name: str) -> list[Source]:
        """`self.name` where `self` is an object of the class that the method belongs to."""
        method = frame.method
        class_ = self.resolver.project.class_(method.script, method.function.owner or "") if method else None
        if method is None or class_ is None:
            return []
        if method.receiver is not None:  # an object of this class or of one derived from it
            return self.of(method.receiver, name)
        return list(self.member(method.script, class_, name, None))

    def saved(self, frame: Frame, name: str) -> list[Source]:
        """`self.hparams.name` of a LightningModule: what `__init__` was given by that name."""
        method = frame.method
        init = self.resolver.project.function(method.script, f"{method.function.owner}.__init__") if method else None
        if method is None or init is None or not any(parameter.name == name for parameter in init.parameters):
            return []
        return self.resolver.sources(Value("name", name), self.method(method.script, init, method.receiver))

    def classes(self, made: Source) -> Iterator[tuple[Script, Class]]:
        """The project's classes that a call makes an object of."""
        for callee in self.resolver.calls.callees(made):
            if callee.class_ is not None and callee.script is not None:
                yield callee.script, callee.class_

    def _part(self, script: Script, class_: Class, name: str, made: Source) -> Iterator[Source]:
        """An attribute of an object: of a dataclass and its like what the call gave by that name."""
        given = made.value.argument(None, name)
        if given is not None and next(self._constructors(script, class_), None) is None:
            yield from self.resolver.of(made.of(given))
        else:
            yield from self.member(script, class_, name, made)

    def _constructors(self, script: Script, class_: Class) -> Iterator[Function]:
        own = self.resolver.project.function(script, f"{class_.name}.__init__")
        yield from (own,) if own is not None else ()
        yield from (found for other, base in self.bases(script, class_) for found in self._constructors(other, base))

    def member(self, script: Script, class_: Class, name: str, receiver: Source | None) -> Iterator[Source]:
        """The values that an attribute is given by the class's own methods, else by those of its bases."""
        inherits = True
        for place in (a for a in class_.attributes if a.name == name):
            function = script.functions[place.function]
            inherits = inherits and _rereads(function, place.event)
            for found in self.resolver.assigned(place.event, self.method(script, function, receiver)):
                yield from self._read(found, name, receiver)
        if inherits:
            for other, base in self.bases(script, class_):
                yield from self.member(other, base, name, receiver or self._itself(script, class_))

    def _itself(self, script: Script, class_: Class) -> Source | None:
        """`self` in the methods of a class: what a base's methods then read of it may be the class's own."""
        if id(class_) not in self._selves:
            own = next((f for f in script.functions if f.owner == class_.name), None)
            made = Source(Value("name", "self"), self.resolver.frame(script, own)) if own is not None else None
            self._selves[id(class_)] = made
        return self._selves[id(class_)]

    def _read(self, found: Source, name: str, receiver: Source | None) -> Iterator[Source]:
        """What reading an attribute gives: of a property what it returns, of a field of a dataclass its default."""
        value, script = found.value, found.frame.script
        getter = self._property(script, value.name) if value.kind == "function" and value.method == name else None
        default = value.argument(None, "default") if value.kind == "call" and value.method in FIELDS else None
        if getter is not None:
            yield from self.resolver.results.returned(self.method(script, getter, receiver))
        elif default is not None:
            yield from self.resolver.of(found.of(default))
        else:
            yield found

    def _property(self, script: Script, name: str) -> Function | None:
        last = self.resolver.project.function(script, name)
        if last is None or not last.decorators:
            return None
        same = (function for function in script.functions if function.name == name)
        return next((f for f in same if any(d.method in PROPERTIES for d in f.decorators)), None)

    def _inherited(self, frame: Frame, name: str) -> Iterator[Source]:
        method = frame.method
        class_ = self.resolver.project.class_(method.script, method.function.owner or "") if method else None
        if method is not None and class_ is not None:
            for script, base in self.bases(method.script, class_):
                yield from self.member(script, base, name, method.receiver)

    def methods(self, script: Script, class_: Class, name: str, receiver: Source | None) -> Iterator[Frame]:
        """The frames of the methods of that name, of the class or inherited."""
        for found in self.member(script, class_, name, receiver):
            function = self.resolver.project.function(found.frame.script, found.value.name)
            if function is not None:
                yield self.method(found.frame.script, function, receiver)

    def beside(self, frame: Frame) -> Iterator[Frame]:
        """All methods of the class that a method belongs to, at work on the same object."""
        own = frame.method
        for function in own.script.functions if own is not None else ():
            if own is not None and function.owner == own.function.owner:
                yield self.method(own.script, function, own.receiver)

    def method(self, script: Script, function: Function, receiver: Source | None) -> Frame:
        """The frame of a method of an object; what __init__ was given is known where the object is made."""
        key = id(function), receiver
        if key not in self.entered:
            frame = replace(self.resolver.frame(script, function), receiver=receiver)
            if receiver is not None and receiver.value.kind == "call" and function.name.endswith("__init__"):
                arguments = self.resolver.arguments.of(function, receiver, self.resolver.module(script), 1)
                frame = replace(frame, arguments=arguments, path=receiver.place)
            self.entered[key] = frame
        return self.entered[key]

    def bases(self, script: Script, class_: Class) -> Iterator[tuple[Script, Class]]:
        for base in class_.bases:
            for source in self.resolver.sources(base, self.resolver.module(script)):
                owner = source.frame.script
                found = self.resolver.project.class_(owner, source.value.name) if source.value.kind == "class" else None
                if found is not None and found is not class_:
                    yield owner, found

    def ancestry(self, script: Script, class_: Class) -> Iterator[str]:
        """The full names of the library classes that a class derives from."""
        yield from (base.name for base in class_.bases if base.kind == "name")
        for other, parent in self.bases(script, class_):
            yield from self.ancestry(other, parent)


def _rereads(function: Function, index: int) -> bool:
    """Whether an attribute is given what it held before, in some wrapper: `self.model = Wrapper(self.model)`."""
    event = function.events[index]
    return event.value is not None and any(
        part.name == event.name for part in event.value.within() if part.kind == "name"
    )
