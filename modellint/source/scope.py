"""Where a value is looked at: a function at work and the place in it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from modellint.core.record import dataclass, field

from .branches import is_not_evaluation
from .code import Class, Function, Value
from .script import Script

ARMS = ("if", "else", "case")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A function at work: what its parameters were given, which object `self` is, what it was called from."""

    script: Script
    function: Function
    arguments: Mapping[str, Source] = field(default_factory=dict)
    receiver: Source | None = None
    outer: Frame | None = None  # of the function that encloses it in the text
    path: str = ""  # the calls that led here

    @property
    def around(self) -> Iterator[Frame]:
        """This frame and those that enclose it in the text; what a class binds is not seen from within its methods."""
        scope: Frame | None = self
        while scope is not None:
            if scope is self or scope.function.kind != "class":
                yield scope
            scope = scope.outer

    @property
    def method(self) -> Frame | None:
        """The innermost one that is a method, so that `self` means its object."""
        return next((scope for scope in self.around if scope.function.owner is not None), None)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A value in the frame in which it is written, before the event of index `at` (None: at any time)."""

    value: Value
    frame: Frame
    at: int | None = None

    @property
    def place(self) -> str:
        """Tells two objects apart that are made by the same or by different calls."""
        spot = self.value.location
        return f"{self.frame.path}>{spot.path}:{spot.line}:{spot.column}"

    @property
    def used(self) -> bool:
        """Whether its statement uses what a call returns."""
        later = self.frame.function.events[(self.at or 0) + 1 :]
        line = self.value.location.end_line or 0
        statement = (e.value for e, _ in zip(later, range(8), strict=False) if (e.location.line or 0) <= line)
        return any(part is self.value for value in statement if value is not None for part in value.within())

    def of(self, value: Value) -> Source:
        """A part of the value, or another one at the same place."""
        return Source(value, self.frame, self.at)


@dataclass(frozen=True, slots=True, eq=False)
class Callee:
    """What a call calls: a function or class of the project, or a library's by its full name.

    `made` is the object, if an object is called; its class's full name is then `name`, its `__call__` or `forward` the function.
    """

    name: str
    script: Script | None = None
    function: Function | None = None
    class_: Class | None = None
    receiver: Source | None = None
    outer: Frame | None = None
    made: Source | None = None


def reaching(function: Function, indices: list[int], at: int | None) -> list[int]:
    """The assignments among `indices` that may hold at event `at`: back to the one that cannot be passed by.

    If there is none before it, those of an earlier pass of a loop around it.
    """
    if not indices or at is None or at >= len(function.events):
        return indices
    found: list[int] = []
    closed, passed = set[int](), set[int]()
    around = set(function.enclosing(function.events[at].block))
    branchings = {_branching(function, block) for block in around} - {None}
    for index in reversed(indices[: bisect_left(indices, at)]):
        block = function.events[index].block
        if block in around:
            return [*found, index]
        if not passed.isdisjoint(function.enclosing(block)):
            continue  # what comes after it in the same arm has taken its place
        if not _excluded(function, block, around, branchings) and is_not_evaluation(function, block):
            found.append(index)
            passed.add(block)
            if _closes(function, block, around, closed):
                return found
    loops = {block for block in around if function.blocks[block].is_loop}
    return found or [i for i in indices if not loops.isdisjoint(function.enclosing(function.events[i].block))]


def always(function: Function, indices: list[int], at: int | None) -> bool:
    """Whether one of the assignments is made on every way to event `at`."""
    if not indices or at is None or at >= len(function.events):
        return bool(indices)
    around = set(function.enclosing(function.events[at].block))
    return any(i < at and function.events[i].block in around for i in indices)


def _closes(function: Function, block: int, around: set[int], closed: set[int]) -> bool:
    """Whether no way leads past what is done in a block and was done in the `else` arms after it; `closed` are their `if`s.

    What a `with` holds is always done.
    """
    while block not in around:
        own = function.blocks[block]
        if own.kind == "else" and own.sibling is not None:
            closed.add(own.sibling)
            return False
        if own.kind != "with" and (own.kind != "if" or block not in closed):
            return False
        block = own.parent
    return True


def _excluded(function: Function, block: int, around: set[int], branchings: set[int | None]) -> bool:
    """Whether a block lies in an arm of one of the branchings of which `around` holds another arm."""
    while (parent := function.blocks[block].parent) not in around:
        block = parent
    return _branching(function, block) in branchings


def _branching(function: Function, block: int) -> int | None:
    """What the arms of one branching have in common."""
    own = function.blocks[block]
    return (block if own.sibling is None else own.sibling) if own.kind in ARMS else None
