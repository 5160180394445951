"""A tensor's update as a sum: each tensor that it is made of, and the numbers that it is multiplied by."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.record import dataclass

from .code import Event, Value
from .facts import Setting
from .numbers import Numbers
from .scope import Source
from .tensors import bare

NEAR = 8  # events between the two statements of one update


@dataclass(frozen=True, slots=True)
class Term:
    tensor: Value
    factors: tuple[Value, ...] = ()
    sign: int = 1

    @property
    def name(self) -> str:
        return written(self.tensor)


class Summands:
    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers

    def in_place(self, source: Source) -> tuple[Term, ...]:
        """What a tensor becomes by one of its methods, or of a list of tensors; the first term is the tensor itself."""
        call = source.value
        listed = call.name.startswith("torch._foreach_")
        kept, given = (call.argument(0), call.arguments[1:]) if listed else (call.receiver, call.arguments)
        if kept is None or not given:
            return ()
        if call.method.endswith("lerp_"):
            weight = call.argument(1 + listed, "weight")
            return _between(kept, given[0], weight) if weight is not None else ()
        factors = given[:1] if len(given) == 2 else _alpha(call)  # the old form: `add_(alpha, other)`
        return self.added(source, kept, given[-1], factors, -1 if call.method == "sub_" else 1)

    def added(
        self, source: Source, kept: Value, given: Value, factors: tuple[Value, ...] = (), sign: int = 1
    ) -> tuple[Term, ...]:
        """What a tensor becomes that another is added to."""
        return _own(source, kept), *self.of(source, given, factors, sign)

    def of(self, source: Source, value: Value, factors: tuple[Value, ...] = (), sign: int = 1) -> Iterator[Term]:
        """The summands of an expression; what is not understood is a tensor."""
        value = bare(value)
        parts = value.arguments
        if value.kind == "operation" and value.name in ("+", "-") and len(parts) == 2:
            yield from self.of(source, parts[0], factors, sign)
            yield from self.of(source, parts[1], factors, sign if value.name == "+" else -sign)
        elif (product := self._product(source, value)) is not None:
            yield from self.of(source, product[0], (*factors, product[1]), sign)
        elif value.kind == "call" and value.method == "lerp" and len(operands := _operands(value)) == 3:
            for term in _between(*operands):
                yield Term(term.tensor, (*factors, *term.factors), sign * term.sign)
        elif value.kind == "call" and value.method == "add" and len(operands := _operands(value)) == 2:
            yield from self.of(source, operands[0], factors, sign)
            yield from self.of(source, operands[1], (*factors, *_alpha(value)), sign)
        else:
            yield Term(value, factors, sign)

    def number(self, source: Source, value: Value) -> list[Setting]:
        """The values of a number; of `1 - x` as many as x has."""
        rest = complement(value)
        if rest is None:
            return self.numbers.of(source.of(value))
        return [Setting(1 - found.value, found.location) for found in self.numbers.of(source.of(rest))]

    def _product(self, source: Source, value: Value) -> tuple[Value, Value] | None:
        """The tensor of a product, and the number."""
        is_product = value.name == "*" if value.kind == "operation" else value.method == "mul"
        parts = value.arguments if value.kind == "operation" else _operands(value) if value.kind == "call" else ()
        if not is_product or len(parts) != 2:
            return None
        first, second = (bool(self.number(source, part)) for part in parts)
        return None if first == second else (parts[1], parts[0]) if first else (parts[0], parts[1])


def complement(value: Value) -> Value | None:
    """`x` of `1 - x`."""
    parts = value.arguments
    return parts[1] if value.name == "-" and len(parts) == 2 and parts[0].constant == 1 else None


def written(value: Value) -> str:
    """`t` of `t.data.clone()`, `shadow[]` of `shadow[name]`."""
    value = bare(value)
    if value.kind == "item" and value.base is not None:
        return f"{written(value.base)}[]"
    return str(value).removesuffix(".data")


def _between(start: Value, end: Value, weight: Value) -> tuple[Term, ...]:
    return Term(bare(start)), Term(bare(end), (weight,)), Term(bare(start), (weight,), -1)


def _operands(call: Value) -> tuple[Value, ...]:
    """What `torch.lerp(a, b, w)` and `a.lerp(b, w)` are given, in this order."""
    return call.arguments if call.name.startswith("torch.") else (call.receiver or call, *call.arguments)


def _alpha(call: Value) -> tuple[Value, ...]:
    alpha = call.argument(None, "alpha")
    return (alpha,) if alpha is not None else ()


def _own(source: Source, kept: Value) -> Term:
    """What is added to, with what it was multiplied by: in the same expression, or by a statement before."""
    if kept.kind == "call" and kept.method == "mul_" and kept.receiver is not None and kept.arguments:
        return Term(bare(kept.receiver), (kept.arguments[0],))
    events, at = source.frame.function.events, source.at or 0
    before = (event for event in events[max(at - NEAR, 0) : at] if event.block == events[at].block)
    factors = [factor for event in before if (factor := _scaled(event, written(kept))) is not None]
    return Term(bare(kept), tuple(factors[-1:]))


def _scaled(event: Event, name: str) -> Value | None:
    """What an event multiplies a tensor by in place."""
    value = event.value
    if value is None or not value.arguments:
        return None
    if event.kind == "augment" and value.name == "*":
        return value.arguments[1] if written(value.arguments[0]) == name else None
    listed = value.name == "torch._foreach_mul_"
    changed = value.arguments[0] if listed else value.receiver if value.method == "mul_" else None
    return value.arguments[-1] if event.kind == "call" and changed is not None and written(changed) == name else None
