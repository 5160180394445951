"""What a value is a sum, product or collection of, as far as gradients flow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .code import Value
from .lineage import CUTS, LONGEST, PLAIN, Lineage
from .scope import Frame, Source

SUMS = ("+", "-", "*", "/")
GATHERS = ("sum", "mean", "stack", "cat")
KEEPS = frozenset(
    {"sum", "mean", "to", "cuda", "cpu", "clone", "view", "squeeze", "float", "half", "double", "mul", "div"}
)


class Term(NamedTuple):
    made: Source  # a call, or an operation that is no sum
    part: str = ""  # of its result: ".loss", "[0]"

    @property
    def place(self) -> str:
        return f"{self.made.place}{self.part}"


class Terms:
    def __init__(self, lineage: Lineage) -> None:
        self.lineage = lineage

    def of(self, source: Source) -> Iterator[Term]:
        """What the value is a sum, product or collection of, as it is or summed over its items: calls, powers."""
        seen: set[tuple[int, Frame, str]] = set()
        waiting = [Term(source)]
        while waiting and len(seen) < LONGEST:
            term = waiting.pop()
            made = term.made
            key = id(made.value), made.frame, term.part
            if key not in seen:
                seen.add(key)
                inner = list(self._summed(made, term.part))
                waiting += reversed(inner)
                if made.value.kind in ("call", "operation") and made.value.method not in CUTS and not inner:
                    yield term

    def _summed(self, made: Source, part: str) -> Iterator[Term]:
        value = made.value
        if value.kind == "name":
            yield from self._named(made, part)
        elif value.kind == "call":
            yield from (Term(found, part) for found in self._through(made))
        elif value.kind == "operation":
            inside = value.arguments if value.name in ("+", "-", "*") else value.arguments[:1]
            yield from (Term(made.of(a), part) for a in inside if value.name in SUMS)
        elif value.kind == "item" and value.base is not None and value.arguments[0].kind == "constant":
            yield Term(made.of(value.base), f"[{value.arguments[0].constant}]{part}")
        elif value.kind in ("tuple", "list") and part.startswith("["):
            places = ((f"[{number}]", item) for number, item in enumerate(value.arguments))
            yield from (Term(made.of(i), part.removeprefix(place)) for place, i in places if part.startswith(place))
        elif value.kind == "attribute" and value.base is not None:
            if value.name not in PLAIN:
                yield Term(made.of(value.base), f".{value.name}{part}")
        else:
            inside = (*value.arguments, *(item for _, item in value.keywords))
            yield from (Term(made.of(a), part) for a in (inside or (value.base,)) if a is not None)

    def _named(self, made: Source, part: str) -> Iterator[Term]:
        name = made.value.name
        bound = list(self.lineage.bound(name, made))
        head, _, attribute = name.rpartition(".")
        if not bound and head not in ("", "self") and attribute not in PLAIN:
            yield Term(made.of(Value("name", head, location=made.value.location)), f".{attribute}{part}")
        yield from (Term(found, part) for found in bound)

    def _through(self, made: Source) -> Iterator[Source]:
        """What a call only sums, rescales or moves; and what a function of the project returns."""
        call, receiver = made.value, made.value.receiver
        torchs = call.name.startswith("torch.")
        if call.arguments and (call.name == "sum" or call.method == "scale" or (torchs and call.method in GATHERS)):
            yield made.of(call.arguments[0])
        elif call.method in KEEPS and receiver is not None and not torchs:
            yield made.of(receiver)
        else:
            yield from self.lineage.results(made)
