"""Which part of a sequence a slice takes, as far as its ends can be compared: numbers, or shares of one length."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.record import dataclass

from .code import Function, Value
from .tensors import bound

ROUNDS = frozenset({"int", "round", "math.floor", "math.ceil"})
HOLDS = frozenset(
    {
        "TensorDataset",
        "DataLoader",
        "SubsetRandomSampler",
        "tensor",
        "as_tensor",
        "from_numpy",
        "array",
        "list",
        "Tensor",
    }
)
DEEPEST = 5


@dataclass(frozen=True, slots=True)
class End:
    """A number, or a share of what `of` says; counted from the end of the sequence if it is negative."""

    share: float
    of: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    base: str
    start: End | None  # None: it cannot be read
    stop: End | None  # likewise
    open: bool = False  # it goes on to the end

    def meets(self, other: Span) -> bool:
        """Whether both surely share items."""
        return self._begins_before_end_of(other) and other._begins_before_end_of(self)

    def _begins_before_end_of(self, other: Span) -> bool:
        if other.open or self.start is None or other.stop is None:
            return other.open and self.start is not None
        if self.start.share == 0:
            return other.stop.share != 0  # `[:-50]` takes the first item, if it takes any
        same = self.start.of == other.stop.of and (self.start.share < 0) == (other.stop.share < 0)
        return same and self.start.share < other.stop.share


def span(function: Function, value: Value, at: int) -> Span | None:
    """Of `x[:n]`, `x[a:b]`, `Subset(x, range(n))`, and of what is only made of it: `TensorDataset(x[:n], y[:n])`."""
    while value.kind == "call" and value.arguments:
        if value.method == "Subset" and value.arguments[-1].kind == "item":
            value = value.arguments[-1]
        elif value.method in HOLDS:
            value = value.arguments[0]
        else:
            break
    if value.kind == "item" and value.base is not None and value.base.kind == "name":
        return _sliced(function, value.base.name, value.arguments[0], at)
    indices = value.argument(1, "indices") if value.kind == "call" and value.method == "Subset" else None
    given = value.argument(0, "dataset") if indices is not None else None
    if indices is None or given is None or indices.name != "range" or len(indices.arguments) > 2:
        return None
    ends = [end(function, part, at) for part in indices.arguments]
    return Span(str(given), End(0.0) if len(ends) == 1 else ends[0], ends[-1])


def _sliced(function: Function, base: str, index: Value, at: int) -> Span | None:
    first = index.arguments[0] if index.kind == "tuple" and index.arguments else index
    plain = first.name in ("_:", ":_", "_:_") and len(first.arguments) == first.name.count("_")
    if first.kind != "unknown" or not plain:
        return None
    ends = [end(function, part, at) for part in first.arguments]
    start = ends[0] if first.name.startswith("_") else End(0.0)
    is_open = first.name.endswith(":")
    return Span(base, start, None if is_open else ends[-1], is_open)


def end(function: Function, value: Value, at: int, depth: int = DEEPEST) -> End | None:
    if isinstance(value.constant, int | float):
        return End(float(value.constant))
    if value.kind == "call" and value.name in ROUNDS and len(value.arguments) == 1:
        return end(function, value.arguments[0], at, depth)
    if value.kind == "operation" and value.name == "*" and len(value.arguments) == 2:
        shares = [part.constant for part in value.arguments if isinstance(part.constant, int | float)]
        others = [part for part in value.arguments if part.kind in ("name", "call")]
        return End(float(shares[0]), _written(function, others[0], at)) if shares and others else None
    if value.kind == "name":
        made = bound(function, value.name, at)
        found = end(function, made, at, depth - 1) if made is not None and depth else None
        return found or End(1.0, value.name)
    return None


def _written(function: Function, value: Value, at: int) -> str:
    """A length by what it is computed of, not by the name that it is given."""
    made = bound(function, value.name, at) if value.kind == "name" else None
    return str(made if made is not None and made.kind == "call" else value)


def spans(function: Function) -> Iterator[tuple[str, Value, Span, int]]:
    """The names that are bound to a part of a sequence."""
    for at, event in enumerate(function.events):
        found = span(function, event.value, at) if event.kind == "assign" and event.value is not None else None
        if found is not None and event.value is not None:
            yield event.name, event.value, found, at
