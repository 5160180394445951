"""Calls: which function or class a call reaches, with which arguments, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from .branches import is_not_evaluation, is_training
from .code import Function, Value
from .scope import Callee, Frame, Source
from .vocabulary import FRAMEWORKS, PASSES_FIRST, PASSES_RECEIVER, PASSES_TUPLE

if TYPE_CHECKING:
    from .resolve import Resolver


class Calls:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._callees: dict[tuple[Value, Frame, int | None], list[Callee]] = {}
        self._frames: dict[tuple[int, Value, Frame], Frame] = {}
        self._returning: dict[int, list[int]] = {}
        self._copies: dict[tuple[Value, Frame, str], Source] = {}

    def callees(self, source: Source) -> list[Callee]:
        """What a call may call; a library's function or an unknown one by its name alone."""
        key = source.value, source.frame, source.at
        if key not in self._callees:
            self._callees[key] = []  # what a call that is met within itself calls
            self._callees[key] = [self._callee(target, source) for target in self._targets(source)]
        return self._callees[key]

    def _targets(self, source: Source) -> list[Source]:
        call = source.value
        if call.base is None:
            return self.resolver.of(source.of(Value("name", call.name, location=call.location)))
        bases = self.resolver.of(source.of(call.base))
        if not call.name:
            return bases
        found = [part for base in bases for part in self.resolver.members.of(base, call.name)]
        return found or [source.of(Value("attribute", call.name, base=call.base))]

    def _callee(self, target: Source, source: Source) -> Callee:
        value, script = target.value, target.frame.script
        if value.kind == "function":
            function = self.resolver.project.function(script, value.name)
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
            return self._object(target)
        return Callee(value.name if value.kind in ("name", "attribute") else "")

    def _object(self, made: Source) -> Callee:
        """An object that is called: its class's `__call__`, or `forward` of a module."""
        for callee in self.callees(made):
            if callee.class_ is None or callee.script is None:
                return Callee("" if callee.made else callee.name, made=made)
            for name in ("__call__", "forward"):
                for member in self.resolver.members.member(callee.script, callee.class_, name, made):
                    function = self.resolver.project.function(member.frame.script, member.value.name)
                    if function is not None:
                        return Callee(callee.name, member.frame.script, function, None, made, member.frame, made)
            return Callee(callee.name, made=made)
        return Callee("", made=made)

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
        key = id(callee.function), call.value, call.frame
        if key not in self._frames:
            arguments = self.arguments(callee.function, call, self.resolver.module(callee.script), _bound(callee))
            outer = callee.outer or self.resolver.module(callee.script)
            frame = Frame(callee.script, callee.function, arguments, callee.receiver, outer, call.place)
            self._frames[key] = frame
        return self._frames[key]

    def arguments(self, function: Function, call: Source, module: Frame, skip: int) -> dict[str, Source]:
        """The parameters that a call gives a value, or a default does."""
        given: dict[str, Source] = {}
        for position, parameter in enumerate(function.parameters[skip:]):
            value = call.value.argument(position, parameter.name)
            if value is not None:
                given[parameter.name] = call.of(value)
            elif parameter.default is not None and not call.value.unpacks:
                given[parameter.name] = Source(parameter.default, module)
        return given

    def results(self, call: Source) -> Iterator[Source]:
        """What a call returns: a project's function is followed, what only prepares its argument is seen through."""
        for callee in self.callees(call):
            entered = self.enter(callee, call)
            if entered is not None:
                yield from self.returned(entered) or [call]
            elif callee.name.rpartition(".")[2] == "deepcopy" and call.value.arguments:
                yield from (self._copy(s, call) for s in self.resolver.of(call.of(call.value.arguments[0])))
            elif callee.class_ is None and (prepared := _prepared(call.value)) is not None:
                yield from self.resolver.of(call.of(prepared))
            else:
                yield call

    def _copy(self, made: Source, call: Source) -> Source:
        """An object of its own that is made as another was."""
        key = made.value, made.frame, call.place
        if key not in self._copies:
            self._copies[key] = Source(made.value, replace(made.frame, path=f"{made.frame.path}{call.place}"), made.at)
        return self._copies[key]

    def returned(self, frame: Frame) -> list[Source]:
        """What a function returns; of a module's forward that tells the modes apart, what it returns in training."""
        return [found for index in self._returns(frame.function) for found in self.resolver.assigned(index, frame)]

    def _returns(self, function: Function) -> list[int]:
        """The events that return a value, as far as they happen in training."""
        known = self._returning.get(id(function))
        if known is None:
            known = [i for i, event in enumerate(function.events) if event.kind == "return" and event.value is not None]
            for mode in (is_training, is_not_evaluation):
                known = [i for i in known if mode(function, function.events[i].block)] or known
            self._returning[id(function)] = known
        return known


def _bound(callee: Callee) -> int:
    """How many parameters the object takes: `self`, unless the method is static."""
    assert callee.function is not None
    return int(
        callee.function.owner is not None and not any(d.name == "staticmethod" for d in callee.function.decorators)
    )


def _prepared(call: Value) -> Value | None:
    """The argument (or object) that a call gives back prepared: `model.to(device)`, `torch.compile(model)`."""
    receiver = call.receiver
    if call.method in PASSES_RECEIVER and receiver is not None and not receiver.name.startswith("torch"):
        return receiver
    single = call.method in PASSES_FIRST or (call.method in PASSES_TUPLE and len(call.arguments) == 1)
    return call.arguments[0] if single and call.arguments else None
