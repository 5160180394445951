"""Decisions that are made of a model's scores, with the losses that take the same scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, takewhile

from modellint.core.pattern import pattern

from . import outputs
from .branches import asks_mode
from .code import Value
from .dataflow import Dataflow
from .facts import Decision, Loss, Operation
from .resolve import Resolver
from .roots import MOVES, Roots, operands
from .scope import Source
from .scored import Scored
from .script import Script
from .shapes import Shapes

COMPARISONS = frozenset({">", ">=", "<", "<=", "gt", "ge", "lt", "le"})
CHOICES = frozenset({"argmax", "max", "softmax"})
UNFOLDS = frozenset({"view", "reshape", "unsqueeze", "unflatten", "permute", "transpose", "rearrange"})
SQUASHES = pattern(r"sigmoid|softmax|act|expit", re.IGNORECASE)
THRESHOLD = pattern(r"thre?s|cutoff", re.IGNORECASE)


class Decisions:
    def __init__(self, resolver: Resolver, losses: Callable[[Script], Iterable[Loss]]) -> None:
        self.resolver = resolver
        self.dataflow = Dataflow(resolver)
        self.roots = Roots(resolver)
        self.shapes = Shapes(resolver)
        self.scored = Scored(resolver, losses)

    def of(self, script: Script) -> Iterator[Decision]:
        for function in script.functions if self.scored.any() else ():
            frame, seen = self.resolver.frame(script, function), set[int]()
            for at in range(len(function.events) - 1, -1, -1):  # a statement comes after the calls in it
                for value in _new(function.events[at].value, seen):
                    yield from self._decision(Source(value, frame, at))

    def _decision(self, source: Source) -> Iterator[Decision]:
        value = source.value
        if value.kind == "operation" and value.name in COMPARISONS and len(value.arguments) == 2:
            yield from self._compared(source, *value.arguments)
        elif value.kind == "call" and (given := operands(value)):
            if value.method in COMPARISONS and len(given) == 2:
                yield from self._compared(source, *given)
            elif value.method == "round" and len(given) == 1:
                yield from self._made("round", source, given[0])
            elif value.method in CHOICES:
                yield from self._made(value.method, source, given[0])

    def _compared(self, source: Source, *sides: Value) -> Iterator[Decision]:
        for given, bound in (sides, sides[::-1]):
            if self._is_half(source.of(bound)):
                yield from self._made("threshold", source, given)

    def _is_half(self, source: Source) -> bool:
        if source.value.kind == "name" and THRESHOLD.search(source.value.name):
            return {found.value.constant for found in self.resolver.of(source)} == {0.5}
        return source.value.constant == 0.5

    def _made(self, kind: str, source: Source, operand: Value) -> Iterator[Decision]:
        """The decision, where all values that it may be made of are scores of the same layer or the same value."""
        roots = list(self.roots.of(source.of(operand), arranged=kind not in CHOICES))
        heads = [_head(self.dataflow.back(root)) for root in roots]
        scores, squashed = heads[0] if heads else (None, False)
        if kind in CHOICES and not outputs.is_single(scores):
            return
        alike = all(head == heads[0] if scores is None else _is_same(head, heads[0]) for head in heads)
        taken = [self.scored.of(root, squashed=squashed) for root in roots]
        if alike and all(taken) and (squashed or not self._tells_modes()):
            losses = tuple(dict.fromkeys(chain.from_iterable(taken)))
            flat = kind in CHOICES and self._is_flat(source.of(operand), losses)
            yield Decision(kind, source.value, scores, losses, squashed, _axis(source.value), flat)

    def _is_flat(self, scores: Source, losses: Iterable[Loss]) -> bool:
        """Whether the scores surely have two axes: by their shape, or since a loss takes them without the second."""
        paths = [path for loss in losses for path in loss.inputs]
        return any(map(_is_of_rows, paths)) or len(self.shapes.of(scores) or ()) == 2

    def _tells_modes(self) -> bool:
        """Whether a function of the project squashes its scores, or not, after the mode: they may be other ones in evaluation."""
        functions = (function for script in self.resolver.project.scripts for function in script.functions)
        return any(any(map(_squashes, function.calls)) and asks_mode(function) for function in functions)


def _squashes(call: Value) -> bool:
    return SQUASHES.search(call.method) is not None


def _is_of_rows(path: Sequence[Operation]) -> bool:
    """Whether a loss drops the second axis of the scores, or the model flattens what it is given, and nothing unfolds it."""
    after = takewhile(lambda operation: outputs.kind(operation) != "scores", path)
    dropped = any(operation.short == "squeeze" and _axis(operation.call) == 1 for operation in after)
    names = {operation.short.lower() for operation in path}
    return dropped or ("flatten" in names and names.isdisjoint(UNFOLDS))


def _head(path: Iterable[Operation]) -> tuple[Operation | None, bool]:
    """The layer whose scores a value is, and whether they went through a sigmoid."""
    operations = [operation for operation in path if operation.short not in MOVES][:2]
    squashed = bool(operations) and outputs.kind(operations[0]) == "sigmoid"
    head = operations[int(squashed)] if len(operations) > squashed else None
    return (head if outputs.kind(head) == "scores" else None), squashed


def _is_same(one: tuple[Operation | None, bool], other: tuple[Operation | None, bool]) -> bool:
    return one[0] is not None and other[0] is not None and (one[0].made, one[1]) == (other[0].made, other[1])


def _axis(call: Value | None) -> int | None:
    if call is None or call.kind != "call":
        return None
    listed = call.name.startswith(("torch.", "numpy."))
    given = call.argument(int(listed), "dim") or call.argument(None, "axis")
    return given.constant if given is not None and type(given.constant) is int else None


def _new(value: Value | None, seen: set[int]) -> Iterator[Value]:
    """The values within one, but for those that were seen in another."""
    waiting = [value] if value is not None else []
    while waiting:
        found = waiting.pop()
        if id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [
                part for part in (found.base, *found.arguments, *(v for _, v in found.keywords)) if part is not None
            ]
