"""Whether a value is the log-likelihood of labels, as it is written by hand: log-probabilities picked at the labels."""

from __future__ import annotations

from . import outputs
from .code import Value
from .dataflow import Dataflow
from .resolve import Resolver
from .scope import Source
from .tensors import operand

ONE_HOT = frozenset({"one_hot", "eye"})


class Likelihoods:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.dataflow = Dataflow(resolver)

    def holds(self, source: Source) -> bool:
        """`logp.gather(1, y)`, `logp[range(n), y]`, `one_hot(y) * logp`, or `log` of probabilities that are picked so."""
        value, kind = source.value, "log-softmax"
        if value.kind == "call" and value.method == "log" and (inner := operand(value)) is not None:
            source, value, kind = source.of(inner), inner, "softmax"
        if value.kind == "operation" and value.name == "*":
            first, second = value.arguments
            return any(
                self._marks(source.of(a)) and self._is(source.of(b), kind)
                for a, b in ((first, second), (second, first))
            )
        picked = _picked(value)
        return picked is not None and self._is(source.of(picked), kind)

    def _marks(self, source: Source) -> bool:
        found = [made.value for made in self.resolver.of(source)]
        return bool(found) and all(any(part.method in ONE_HOT for part in value.within()) for value in found)

    def _is(self, source: Source, kind: str) -> bool:
        head = outputs.head(self.dataflow.back(source))
        return head is not None and head.certain and outputs.kind(head) == kind


def _picked(value: Value) -> Value | None:
    """What one item of each row is taken of: by `gather`, or by an index of rows and columns."""
    if value.kind == "call" and value.method == "gather":
        return operand(value)
    index = value.arguments[0] if value.kind == "item" else None
    if index is None or index.kind != "tuple" or len(index.arguments) != 2:
        return None
    rows, columns = index.arguments
    return value.base if rows.kind in ("call", "name") and columns.kind in ("name", "item", "call") else None
