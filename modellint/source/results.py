"""Results: what a call gives back, through the functions of the project and what only prepares its argument."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modellint.core.record import replace

from .branches import is_not_evaluation, is_training
from .code import Function, Value
from .scope import Frame, Source
from .vocabulary import PASSES_FIRST, PASSES_RECEIVER, PASSES_TUPLE

if TYPE_CHECKING:
    from .resolve import Resolver


class Results:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._returning: dict[int, list[int]] = {}
        self._copies: dict[tuple[Value, Frame, str], Source] = {}

    def of(self, call: Source) -> Iterator[Source]:
        """What a call returns: a project's function is followed, what only prepares its argument is seen through."""
        for callee in self.resolver.calls.callees(call):
            entered = self.resolver.calls.enter(callee, call)
            if entered is not None:
                yield from self.returned(entered) or [call]
            elif callee.name.rpartition(".")[2] == "deepcopy" and call.value.arguments:
                yield from (self._copy(s, call) for s in self.resolver.of(call.of(call.value.arguments[0])))
            elif callee.class_ is None and (prepared := _prepared(call.value)) is not None:
                yield from self.resolver.of(call.of(prepared))
            else:
                yield call

    def _copy(self, made: Source, call: Source) -> Source:
        """An object of its own that is made as another was; a copy of what this very call has made is told apart no further."""
        if call.place.removeprefix(call.frame.path) in made.frame.path:
            return made
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


def _prepared(call: Value) -> Value | None:
    """The argument (or object) that a call gives back prepared: `model.to(device)`, `torch.compile(model)`."""
    receiver = call.receiver
    of_torch = receiver is not None and receiver.kind == "name" and receiver.name.partition(".")[0] == "torch"
    if call.method in PASSES_RECEIVER and receiver is not None and not of_torch:
        return receiver
    single = call.method in PASSES_FIRST or (call.method in PASSES_TUPLE and len(call.arguments) == 1)
    return call.arguments[0] if single and call.arguments else None
