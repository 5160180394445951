"""Views that are written as if they moved an axis: what lies before it and after it in memory is something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from . import arranging
from .arrangement import Arrangement, Kept, Tensor
from .arranging import Axis
from .code import Function, Value

NAMELESS = pattern(r"^\?|@")
Axes = Sequence[Axis | None]  # None: a -1, or the axes that are not known


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    call: Value
    axis: str
    sure: bool  # False: what lies between may be of length 1


def moved(function: Function, kept: Kept) -> Iterator[Moved]:
    """The views of a function that move an axis."""
    arrangement = Arrangement(function, kept)
    for event in function.events:
        arrangement.read(event)
        if event.kind == "call" and event.value is not None and event.value.method in arranging.VIEWS:
            yield from _judged(arrangement, event.value)


def _judged(arrangement: Arrangement, call: Value) -> Iterator[Moved]:
    of, sizes = arranging.subject(call)[0], arranging.sizes(call)
    if of is None or len(sizes) < 2:
        return
    target = [arrangement.size(size) for size in sizes]
    source = _axes(arrangement.of(of), target)
    place, lost = next(_misplaced(source, target), (0, Counter[str]()))
    named = {size for axis in target for size in axis or ()} | {
        s for axis, _ in arrangement.sizes.values() for s in axis
    }
    told = {size for size in lost if size in named or not NAMELESS.search(size)}
    if told or (lost and None in target[1:-1] and source[0] == target[0]):
        yield Moved(call, str(sizes[place]), not told.isdisjoint(size for axis in source for size in axis or ()))


def _axes(tensor: Tensor, target: Axes) -> Axes:
    """The axes of a tensor; if their number is not known, as far as a view names them, with those before them."""
    if tensor.axes is not None:
        return tensor.axes
    prefix = f"{tensor.name}."
    places = [int(size.removeprefix(prefix)) for axis in target for size in axis or () if size.startswith(prefix)]
    last = max(places, default=-1) if min(places, default=0) >= 0 else -1
    return [
        *((f"{prefix}{place}",) for place in range(last + 1)),
        None,
        *((tensor.last,) if tensor.last is not None else ()),
    ]


def _misplaced(source: Axes, target: Axes) -> Iterator[tuple[int, Counter[str]]]:
    """The axes of a view that lie elsewhere in memory, each with the sizes that lie on the wrong side of it."""
    held, wanted = (Counter(size for axis in axes for size in axis or ()) for axes in (source, target))
    absorbs = None in target or bool(wanted - held)  # else what is not in the view is of length 1
    for place, axis in enumerate(target):
        for size in axis or ():
            if held[size] == wanted[size] == 1 and not size.isdigit():
                here = next(i for i, other in enumerate(source) if size in (other or ()))
                lost = _lost(source, here, target, place) or _lost(target, place, source, here)
                if lost and (absorbs or any(other in wanted for other in lost)):
                    yield place, lost


def _lost(one: Axes, at: int, other: Axes, to: int) -> Counter[str]:
    """The sizes on one side of an axis in one arrangement, where the other has but a part of them; none if it may be the same."""
    beside = Counter(other[to] or ()) - Counter(one[at] or ())
    for sure, maybe in ((one[at + 1 :], other[to + 1 :]), (one[:at], other[:to])):
        strict = Counter(size for axis in sure for size in axis or ())
        loose = Counter(size for axis in maybe for size in axis or ()) + beside
        if None not in maybe and not loose - strict and strict - loose:
            return strict - loose
    return Counter()
