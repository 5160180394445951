"""Whether a value is a part of the batches that a DataLoader makes."""

from __future__ import annotations

from .code import Value
from .resolve import Resolver
from .scope import Source

DEEPEST = 6  # parts of parts


class Batches:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def hold(self, source: Source, depth: int = 0) -> bool:
        """True only if every value that it may be is taken from what a DataLoader yields."""
        found = self.resolver.of(source) if depth < DEEPEST else []
        return bool(found) and all(self._is_part(made, depth) for made in found)

    def _is_part(self, made: Source, depth: int) -> bool:
        value = made.value
        if value.kind == "call" and value.name == "next" and value.arguments:
            return self._loads(made.of(value.arguments[0]))
        if value.base is None:
            return False
        return (
            self._loads(made.of(value.base)) if value.kind == "element" else self.hold(made.of(value.base), depth + 1)
        )

    def _loads(self, source: Source) -> bool:
        if source.value.kind == "call" and source.value.name == "enumerate" and source.value.arguments:
            return self._loads(source.of(source.value.arguments[0]))
        found = self.resolver.of(source)
        return bool(found) and all(_is_loader(made.value) for made in found)


def _is_loader(call: Value) -> bool:
    """A loader that makes batches itself: its dataset does not, and its arguments can be read."""
    size = call.argument(1, "batch_size")
    made = call.kind == "call" and call.method == "DataLoader" and not call.unpacks
    return made and not (size is not None and size.kind == "constant" and size.constant is None)
