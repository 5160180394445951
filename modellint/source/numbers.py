"""Numbers that a call is given, through constants, defaults of parameters and options, and arithmetic."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator

from .facts import Setting
from .resolve import Resolver
from .scope import Source

INFINITE = ("math.inf", "numpy.inf", "torch.inf", "numpy.Inf")
DEEPEST = 20  # computations within computations
LONGEST = 200  # values looked at for one number: a rate that is computed from itself doubles them with each step back
LARGEST = 20  # parts of a computation
ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow}


class Numbers:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._depth = 0
        self._left = LONGEST

    def of(self, source: Source) -> list[Setting]:
        """The numbers that the value may be, as far as they are written in the files; none where one cannot be read."""
        self._left = LONGEST if self._depth == 0 else self._left - 1
        if self._depth > DEEPEST or self._left < 0:  # a number that is computed from itself, in a loop
            return []
        self._depth += 1
        try:
            return [setting for made in self.resolver.of(source) for setting in self._read(made)]
        finally:
            self._depth -= 1

    def _read(self, source: Source) -> Iterator[Setting]:
        value = source.value
        if (number := value.number) is not None:
            yield Setting(number, value.location)
        elif value.name in INFINITE:
            yield Setting(math.inf, value.location)
        elif value.kind == "call" and value.name == "float" and len(value.arguments) == 1:
            yield from self._converted(source.of(value.arguments[0]))
        elif value.kind == "operation" and value.name in ARITHMETIC and len(value.arguments) == 2:
            yield from self._computed(source)

    def _converted(self, source: Source) -> Iterator[Setting]:
        for made in self.resolver.of(source):
            if isinstance(made.value.constant, str):
                try:
                    yield Setting(float(made.value.constant), made.value.location)
                except ValueError:
                    continue
            elif made.value.kind != "call":
                yield from self._read(made)

    def _computed(self, source: Source) -> Iterator[Setting]:
        if len(list(source.value.within())) > LARGEST:
            return
        left, right = (self.of(source.of(part)) for part in source.value.arguments)
        if len(left) == 1 and len(right) == 1:
            try:
                result = ARITHMETIC[source.value.name](left[0].value, right[0].value)
            except (ArithmeticError, ValueError):
                return
            if isinstance(result, float):
                yield Setting(result, source.value.location)
