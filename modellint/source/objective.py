"""What a backward() starts from, as a sum: each summand with its sign, and whether its graph is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from math import copysign

from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from . import divergence
from .code import Function, Value
from .facts import Summand
from .likelihood import Likelihoods
from .lineage import Lineage
from .registration import WEIGHTED
from .scope import Source
from .script import Script
from .sums import negated
from .terms import GATHERS, KEEPS

LONGEST = 100  # parts of one objective
CUTS = frozenset({"detach", "item", "tolist", "numpy", "float"})  # what makes a tensor a number, or forgets its graph
LEAVES = frozenset({"tensor", "as_tensor", "Variable", "FloatTensor"})  # what begins a graph of its own
LOSS = pattern(r"(?i:loss|criteri|objective)|NTXent|InfoNCE|(BCE|CE|KL)$")
SCALES = frozenset({"scale", "scale_loss"})  # of a gradient scaler


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    source: Source
    sign: int = 1  # 0: not known
    cut: Value | None = None
    given: Value | None = None
    written: int = 1

    def of(self, source: Source, sign: int = 1, cut: Value | None = None, given: Value | None = None) -> Part:
        return Part(source, self.sign * sign, self.cut or cut, self.given or given, self.written * (sign or 1))


class Objective:
    def __init__(self, lineage: Lineage) -> None:
        self.lineage = lineage
        self.likelihoods = Likelihoods(lineage.resolver)

    def of(self, source: Source) -> Iterator[Summand]:
        seen: set[tuple[int, object]] = set()
        waiting = [Part(source)]
        while waiting and len(seen) < LONGEST:
            part = waiting.pop()
            key = id(part.source.value), part.source.frame
            if key not in seen and part.source.value.kind != "constant":
                seen.add(key)
                inner = list(self._inside(part))
                waiting += reversed(inner)
                if not inner:
                    likely = self.likelihoods.holds(part.source)
                    yield Summand(part.source.value, part.sign, part.cut, part.given, likely, part.written)

    def _inside(self, part: Part) -> Iterator[Part]:
        made, value = part.source, part.source.value
        if value.kind == "name":
            yield from self._named(part)
        elif value.kind == "operation":
            yield from self._computed(part)
        elif value.kind == "attribute" and value.name == "data" and value.base is not None:
            yield part.of(made.of(value.base), cut=value)
        elif value.kind == "call":
            yield from self._called(part)
        elif value.kind in ("choice", "item"):
            yield from (part.of(found) for found in self.lineage.resolver.of(made) if found.value is not value)

    def _named(self, part: Part) -> Iterator[Part]:
        made, value = part.source, part.source.value
        if value.method == "data" and value.receiver is not None:
            yield part.of(made.of(value.receiver), cut=value)
        else:
            yield from (part.of(found) for found in self.lineage.bound(value.name, made))

    def _computed(self, part: Part) -> Iterator[Part]:
        """Through sums and differences, and products with a factor that is a number."""
        made, operation = part.source, part.source.value
        first, *rest = operation.arguments
        if divergence.sign(operation):
            return
        if operation.name == "-" and not rest:
            yield part.of(made.of(first), -1)
        elif operation.name in ("+", "-"):
            yield part.of(made.of(first))
            yield from (part.of(made.of(other), 1 if operation.name == "+" else -1) for other in rest)
        elif operation.name == "/":
            yield part.of(made.of(first), -1 if _negative(rest[0]) else 1)
        elif operation.name == "*":
            factors = [a for a in operation.arguments if not self._is_number(made.of(a))]
            numbers = [a.constant for a in operation.arguments if a not in factors]
            sign = 1
            for number in numbers:
                sign *= int(copysign(1, number)) if isinstance(number, int | float) and number else 0
            yield from (part.of(made.of(factor), sign) for factor in factors if len(factors) == 1)

    def _is_number(self, source: Source) -> bool:
        """A constant, or an option, an attribute or a parameter that nothing computes."""
        if source.value.kind not in ("constant", "name"):
            return False
        return all(found.value.kind in ("constant", "name", "unknown") for found in self.lineage.resolver.of(source))

    def _called(self, part: Part) -> Iterator[Part]:
        made, call = part.source, part.source.value
        receiver, first = call.receiver, next(iter(call.arguments), None)
        torchs = call.name.startswith("torch.")
        subject = first if torchs or (call.base is None and receiver is None) else receiver
        if call.method in LEAVES and first is not None:
            yield part.of(made.of(first), cut=call)
        elif call.method in CUTS and subject is not None and not (call.method == "float" and receiver is not None):
            yield part.of(made.of(subject), cut=call)
        elif call.method in ("neg", "negative") and subject is not None:
            yield part.of(made.of(subject), -1)
        elif first is not None and (call.method in SCALES or (torchs and call.method in GATHERS)):
            yield part.of(made.of(first))
        elif call.method in (*KEEPS, "requires_grad_") and not torchs and receiver is not None:
            yield part.of(made.of(receiver), int(call.method not in ("mul", "div")))
        else:
            found = list(self.lineage.results(made)) or list(self._measured(made))
            yield from (part.of(result, given=call) for result in found)

    def _measured(self, made: Source) -> Iterator[Source]:
        """What the forward of a loss returns that is a module of the project, and has no weights of its own."""
        resolver = self.lineage.resolver
        for callee in resolver.calls.callees(made)[:1]:
            function, script = callee.function, callee.script
            if callee.made is not None and function is not None and script is not None and _is_loss(script, function):
                frame = resolver.calls.enter(callee, made)
                yield from resolver.results.returned(frame) if frame is not None else ()


def _is_loss(script: Script, forward: Function) -> bool:
    own = [function for function in script.functions if function.owner == forward.owner]
    weighted = any(WEIGHTED.fullmatch(call.name) for function in own for call in function.calls)
    return LOSS.search(forward.owner or "") is not None and not weighted


def _negative(number: Value) -> bool:
    """A divisor that is written with a minus."""
    if isinstance(number.constant, int | float):
        return number.constant < 0
    return negated(number) is not None
