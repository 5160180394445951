"""Back from a tensor to what it was before it was only moved, arranged or gathered."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .code import Value
from .outputs import KEEPS
from .resolve import Resolver
from .scope import Source

CASTS = frozenset(
    "float double half detach cpu cuda to numpy contiguous item tolist tensor as_tensor from_numpy asarray".split()
)
MOVES = CASTS | KEEPS
GATHERS = frozenset("cat concat stack concatenate vstack hstack array".split())
DEEPEST = 12  # moves on the way to a value


class Roots:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, source: Source, *, arranged: bool = True) -> Iterator[Source]:
        """What a value may have been; with `arranged`, before its axes were changed too."""
        yield from self._of(source, MOVES if arranged else CASTS, 0)

    def _of(self, source: Source, moves: Collection[str], depth: int) -> Iterator[Source]:
        for made in self.resolver.of(source):
            inner = list(_before(made, moves)) if depth < DEEPEST else []
            for part in inner:
                yield from self._of(part, moves, depth + 1)
            if not inner:
                yield made


def operands(call: Value) -> tuple[Value, ...]:
    """What `torch.gt(a, b)` and `a.gt(b)` are given, in this order."""
    listed = call.receiver is None or call.name.startswith(("torch.", "numpy."))
    return call.arguments if call.receiver is None or listed else (call.receiver, *call.arguments)


def _before(made: Source, moves: Collection[str]) -> Iterator[Source]:
    """What a value was moved or gathered from."""
    value = made.value
    if value.kind == "call" and value.method in moves:
        yield from map(made.of, operands(value)[:1])
    elif value.kind == "call" and value.method in GATHERS and value.arguments:
        yield from _collected(made.of(value.arguments[0]))
    elif value.kind == "name" and value.method == "data" and value.receiver is not None:
        yield made.of(value.receiver)
    elif value.kind == "attribute" and value.name == "data" and value.base is not None:
        yield made.of(value.base)


def _collected(source: Source) -> Iterator[Source]:
    """What a list holds: as it is written, or all that it is grown by."""
    name, frame = source.value.name, source.frame
    if source.value.kind in ("list", "tuple"):
        yield from map(source.of, source.value.arguments)
    elif source.value.kind == "name":
        growing = (f"{name}.append", f"{name}.extend")
        for at, event in enumerate(frame.function.events):
            call = event.value if event.kind == "call" else None
            if call is not None and call.name in growing and call.arguments:
                yield Source(call.arguments[0], frame, at)
