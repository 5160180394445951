"""Marks: tensors of two values that tell positions apart, and what arithmetic makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from modellint.core.record import dataclass, replace

TOKENS = frozenset({"tokens"})
# Of padded sequences the tokens; of pairs of positions (i, j) those with j <= i, j < i, j > i, j >= i.
OPPOSITE = {"tokens": "padding", "past": "future", "before": "onwards"}
OPPOSITE |= {other: one for one, other in OPPOSITE.items()}
TURNED = {"past": "onwards", "before": "future", "future": "before", "onwards": "past"}
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

    def filled(self, condition: Marks, value: float) -> Marks | None:
        return self.joined(condition, lambda old, held: value if held else old)

    def shown(self, hides: Callable[[float], bool]) -> frozenset[str]:
        """Which positions are left if some values hide: those that are in all of these; none where that has no name."""
        left = (form.where for form in self.forms() if hides(form.outside) and not hides(form.inside))
        return next(left, frozenset())


def everywhere(value: float) -> Marks:
    return Marks(frozenset(), value, value)


def same(read: Iterable[Marks | None]) -> Marks | None:
    """What all are, if they are known and the same."""
    found = list(read)
    known = [marks for marks in found if marks is not None]
    alike = {frozenset((form.where, form.inside, form.outside) for form in marks.forms()) for marks in known}
    return min(known, key=lambda marks: marks.sure) if len(known) == len(found) and len(alike) == 1 else None
