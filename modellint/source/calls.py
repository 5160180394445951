"""Calls: which function or class a call reaches, and the frame in which it then runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modellint.core.record import replace

from .code import Class, Event, Function, Value
from .growth import GROWING
from .scope import Callee, Frame, Source
from .script import Script
from .vocabulary import FRAMEWORKS

if TYPE_CHECKING:
    from .resolve import Resolver


WRITTEN = True  # marks a function that is meant without its decorators


class Calls:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.known: dict[tuple[Value, Frame, int | None], list[Callee]] = {}
        self.entered: dict[tuple[int, Value, Frame], Frame] = {}

    def callees(self, source: Source) -> list[Callee]:
        """What a call may call; a library's function or an unknown one by its name alone."""
        key = source.value, source.frame, source.at
        if key not in self.known:
            self.known[key] = []  # what a call that is met within itself calls
            targets = (taken for target in self._targets(source) for taken in self.resolver.registry.taken(target))
            self.known[key] = [callee for target in targets for callee in self._called_by(target, source)]
        return self.known[key]

    def _targets(self, source: Source) -> list[Source]:
        call = source.value
        if call.base is None:
            return self.resolver.of(source.of(Value("name", call.name, location=call.location)))
        bases = self.resolver.of(source.of(call.base))
        if not call.name:
            return bases
        found = [part for base in bases for part in self.resolver.members.of(base, call.name)]
        return found or [source.of(Value("attribute", call.name, base=call.base))]

    def _called_by(self, target: Source, source: Source) -> Iterator[Callee]:
        if target.value.kind == "call" and target.value.method != "partial" and target.value.name != "getattr":
            yield from self._objects(target)
        else:
            yield self._callee(target, source)

    def _callee(self, target: Source, source: Source) -> Callee:
        value, script = target.value, target.frame.script
        if value.kind == "function":
            function = self.resolver.project.function(script, value.name)
            wrapper = self._wrapper(target, function) if function is not None and function.decorators else None
            if wrapper is not None:
                return self._callee(wrapper, source)
            receiver = self._called_on(source) if function is not None and function.owner else None
            return Callee(value.name, script, function, receiver=receiver, outer=target.frame)
        if value.kind == "class" and value.name in FRAMEWORKS:
            return Callee(value.name)
        if value.kind == "class":
            return Callee(value.name, script, class_=self.resolver.project.class_(script, value.name))
        if value.kind == "call" and value.method == "partial" and value.arguments:
            partial = self.resolver.of(target.of(value.arguments[0]))[0]
            return self._callee(partial, source) if partial.value.method != "partial" else Callee("")
        if value.kind == "call" and value.name == "getattr" and value.arguments and value.arguments[0].kind == "name":
            return Callee(f"{value.arguments[0].name}.*")
        if value.kind == "call":
            return next(self._objects(target), Callee("", made=target))
        if value.name == "self" and target.frame.method is not None:
            return self._itself(target)
        return Callee(value.name if value.kind in ("name", "attribute") else "")

    def _wrapper(self, target: Source, function: Function) -> Source | None:
        """What the project's decorators make of a function; of a method they are not followed."""
        if function.owner is not None or target.value.constant is WRITTEN:
            return None
        made, module = replace(target.value, constant=WRITTEN), self.resolver.module(target.frame.script)
        for decorator in reversed(function.decorators):
            name, base = (decorator.name, None) if decorator.kind == "name" else ("", decorator)
            call = Source(Value("call", name, base=base, arguments=(made,), location=decorator.location), module)
            if any(callee.function is not None for callee in self.callees(call)):
                made = call.value
        found = self.resolver.sources(made, module) if made.kind == "call" else []
        return next((s for s in found if s.value.kind == "function" and s.value.constant is not WRITTEN), None)

    def _objects(self, made: Source) -> Iterator[Callee]:
        """What is called where an object is: its class's `__call__`, or `forward` of a module; for each class it may be of."""
        callees = self.callees(made)
        for callee in callees:
            if callee.class_ is None or callee.script is None:
                yield Callee("" if callee.made else callee.name, made=made)
            else:
                yield self._instance(callee, callee.script, callee.class_, made)
        if not callees:
            yield Callee("", made=made)

    def _instance(self, callee: Callee, script: Script, class_: Class, made: Source) -> Callee:
        for name in ("__call__", "forward"):
            for member in self.resolver.members.member(script, class_, name, made):
                function = self.resolver.project.function(member.frame.script, member.value.name)
                if function is not None:
                    return Callee(callee.name, member.frame.script, function, None, made, member.frame, made)
        return Callee(callee.name, made=made)

    def _itself(self, target: Source) -> Callee:
        """`self(x)` in a method of a module."""
        method = target.frame.method
        for member in (
            m for name in ("__call__", "forward") for m in self.resolver.members.of_self(target.frame, name)
        ):
            function = self.resolver.project.function(member.frame.script, member.value.name)
            if function is not None:
                receiver = method.receiver if method is not None else None
                return Callee(member.value.name, member.frame.script, function, None, receiver, member.frame)
        return Callee("self")

    def _called_on(self, source: Source) -> Source | None:
        receiver = source.value.receiver
        if receiver is None:
            return None
        if receiver.name in ("self", "super"):
            method = source.frame.method
            return method.receiver if method else None
        return next((s for s in self.resolver.of(source.of(receiver)) if s.value.kind == "call"), None)

    def enter(self, callee: Callee, call: Source) -> Frame | None:
        """The frame in which the project's function runs when called so."""
        if callee.function is None or callee.script is None:
            return None
        if callee.function is call.frame.function and callee.receiver is call.frame.receiver:
            return call.frame  # a call within a call of itself makes nothing else, and there would be no end to them
        key = id(callee.function), call.value, call.frame
        if key not in self.entered:
            arguments = self.resolver.arguments.of(
                callee.function, call, self.resolver.module(callee.script), _bound(callee)
            )
            outer = callee.outer or self.resolver.module(callee.script)
            path = self._path(callee.script, callee.function, callee, call)
            self.entered[key] = Frame(callee.script, callee.function, arguments, callee.receiver, outer, path)
        return self.entered[key]

    def _path(self, script: Script, function: Function, callee: Callee, call: Source) -> str:
        """What tells apart what a function makes: the call, but for what a method makes for its object to keep."""
        keeps = function.owner is not None and any(map(_is_kept, function.events))
        return self.resolver.members.method(script, function, callee.receiver).path if keeps else call.place


def _is_kept(event: Event) -> bool:
    """Whether an attribute is set, or something is put into one."""
    call = event.value if event.kind == "call" else None
    name = call.name if call is not None and call.method in GROWING else event.name if event.kind == "assign" else ""
    return name.startswith("self.")


def _bound(callee: Callee) -> int:
    """How many parameters the object takes: `self`, unless the method is static."""
    assert callee.function is not None
    return int(
        callee.function.owner is not None and not any(d.name == "staticmethod" for d in callee.function.decorators)
    )
