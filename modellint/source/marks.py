"""Marks: tensors of two values that tell positions apart, and what arithmetic makes of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from itertools import product

from modellint.core.record import dataclass, replace

TOKENS = frozenset({"tokens"})
# Of padded sequences the tokens; of pairs of positions (i, j) those with j <= i, j < i, j > i, j >= i.
OPPOSITE = {"tokens": "padding", "past": "future", "before": "onwards"}
OPPOSITE |= {other: one for one, other in OPPOSITE.items()}
TURNED = {"past": "onwards", "before": "future", "future": "before", "onwards": "past"}
OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "&": min, "|": max, "^": operator.ne,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "add": operator.add, "add_": operator.add, "sub": operator.sub, "mul": operator.mul, "mul_": operator.mul,
    "logical_and": min, "bitwise_and": min, "logical_or": max, "bitwise_or": max, "eq": operator.eq, "ne": operator.ne,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip
NAMES = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
CHANGES: dict[str, Callable[[float], float]] = {
    "~": operator.not_, "not": operator.not_, "logical_not": operator.not_, "logical_not_": operator.not_,
    "bitwise_not": operator.not_, "bool": bool, "-": operator.neg, "neg": operator.neg, "isinf": math.isinf,
    "isneginf": math.isinf,
}  # fmt: skip
MOST = 12  # ways to make one mask
LOW = -1e3  # what hides a score to which it is added


@dataclass(frozen=True, slots=True)
class Marks:
    """`inside` at the positions that are in all of `where`, `outside` elsewhere; without `where` one value everywhere."""

    where: frozenset[str]
    inside: float
    outside: float
    sure: bool = True

    def made(self, change: Callable[[float], float]) -> Marks:
        return replace(self, inside=float(change(self.inside)), outside=float(change(self.outside)))

    def turned(self) -> Marks | None:
        """With i and j exchanged."""
        if self.where.isdisjoint(TURNED):
            return self
        return replace(self, where=frozenset(TURNED[kind] for kind in self.where)) if self.where <= {*TURNED} else None

    def forms(self) -> Iterator[Marks]:
        """The same, told by the other positions too; of several conditions these have no name."""
        yield self
        if len(self.where) == 1:
            yield Marks(frozenset(OPPOSITE[kind] for kind in self.where), self.outside, self.inside, self.sure)

    def joined(self, other: Marks, both: Callable[[float, float], float]) -> Marks | None:
        """What an operation makes of both, if that is two values again."""
        for a in self.forms():
            for b in other.forms():
                where, sure = a.where | b.where, a.sure and b.sure
                inside, outside = float(both(a.inside, b.inside)), float(both(a.outside, b.outside))
                if a.where == b.where or not a.where or not b.where:
                    return Marks(where, inside, outside, sure)
                mixed = both(a.inside, b.outside), both(a.outside, b.inside)
                if len({max(float(value), LOW) for value in (outside, *mixed)}) == 1 and len(where & {*TURNED}) < 2:
                    return Marks(where, inside, outside, sure)
        return None

    def filled(self, condition: Marks, put: Marks) -> Marks | None:
        """With one value where the condition holds."""
        return self.joined(condition, lambda old, held: put.inside if held else old) if not put.where else None

    def shown(self, hides: Callable[[float], bool]) -> frozenset[str]:
        """Which positions are left if some values hide: those that are in all of these; none where that has no name."""
        left = (form.where for form in self.forms() if hides(form.outside) and not hides(form.inside))
        return next(left, frozenset())


Options = tuple[Marks, ...]  # all that a mask may be


def everywhere(value: float) -> Marks:
    return Marks(frozenset(), value, value)


def each(change: Callable[..., Marks | None], *options: Options) -> Options:
    """What is made of all that some masks may be; nothing where that cannot be told of one."""
    made = [change(*marks) for marks in product(*options)]
    return tuple(dict.fromkeys(m for m in made if m is not None)) if None not in made and len(made) <= MOST else ()


def changed(options: Options, name: str) -> Options:
    """What an operator or a method without an argument makes of them."""
    return each(lambda marks: marks.made(CHANGES[name]), options) if name in CHANGES else ()
