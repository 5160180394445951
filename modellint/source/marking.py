"""What a mask marks: from an expression, through names, functions and buffers of the project, to Marks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from modellint.core.pattern import pattern

from .applied import Applied
from .buffers import registered
from .code import Function, Value
from .marks import NAMES, OPERATORS, TOKENS, Marks, Options, changed, each, everywhere
from .numbers import Numbers
from .positions import Positions
from .resolve import Resolver
from .scope import Frame, Source
from .stencils import TURNS, Stencils

MOST_CALLS = 6  # of modules within modules
DEEPEST = 25  # masks that are made of other masks
TOLD = pattern(r"(.*\.)?attention_mask")  # of a tokenizer: 1 at the tokens
EDITS = pattern(r"(fill|triu|tril|logical_\w+|masked_fill|copy|index_\w+|scatter\w*|neg|mul|add|sub)_")


class Marking:
    """Its answers are all that a mask may be, by the ways that lead there; none where it cannot be read on one of them."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.numbers = Numbers(resolver)
        self.applied = Applied(resolver)
        self.positions = Positions(resolver)
        self.stencils = Stencils(self)
        self._depth = 0
        self._known: dict[tuple[Value, Frame, int | None], Options] = {}  # of what the one mask is made of

    def of(self, source: Source) -> Options:
        key = source.value, source.frame, source.at
        if not self._depth:
            self._known.clear()
        if self._depth > DEEPEST or key in self._known:
            return self._known.get(key, ())
        self._known[key] = ()  # what a mask is that is made of itself
        self._depth += 1
        try:
            read = [self._edited(made) for made in self._sources(source) if not _is_none(made.value)]
        finally:
            self._depth -= 1
        found = tuple(dict.fromkeys(marks for options in read for marks in options)) if all(read) else ()
        self._known[key] = found
        return found

    def _sources(self, source: Source, depth: int = MOST_CALLS) -> list[Source]:
        """What a mask may be; a parameter of a forward is what the module is called with."""
        found, name = self.resolver.of(source), source.value.name
        unknown = source.value.kind == "name" and all(_is_none(s.value) or s.value.name == name for s in found)
        given = self.applied.given(name, source.frame) if unknown and depth else []
        return [made for passed in given for made in self._sources(passed, depth - 1)] or found

    def _edited(self, made: Source) -> Options:
        """With what the function in which it is made does to it in place."""
        marks, function = self._read(made), made.frame.function
        for at in _bound_to(function).get(made.value, ()):
            event = function.events[at]
            for later in function.events[at + 1 :]:
                if later.kind == "assign" and later.name.startswith(f"{event.name}["):
                    return ()
                call = later.value if later.kind == "call" else None
                if call is not None and EDITS.fullmatch(call.method) and str(call.receiver) == event.name:
                    always = later.block == event.block
                    marks = self.stencils.applied(made.of(call), marks, call.arguments) if always else ()
        return marks

    def _read(self, made: Source) -> Options:
        value = made.value
        if value.kind == "operation":
            return self._operation(made)
        if value.kind == "item" and value.base is not None:
            return self._item(made, value.base)
        if value.kind == "call":
            return self.stencils.of(made)
        return self._named(made) if value.kind in ("name", "attribute") else self.number(made)

    def _named(self, made: Source) -> Options:
        """Of a name that nothing binds, or an attribute."""
        head, _, last = made.value.name.rpartition(".")
        base = made.value.base or (Value("name", head) if head else None)
        if base is not None and last in TURNS:
            return each(Marks.turned, self.of(made.of(base)))
        if base is not None and base.method == "finfo" and last == "min":
            return (everywhere(-math.inf),)
        if TOLD.fullmatch(made.value.name):
            return (Marks(TOKENS, 1, 0, sure=False),)
        buffer = registered(self.resolver, made, last) if head == "self" else None
        return self.of(buffer) if buffer is not None else self.number(made)

    def number(self, made: Source) -> Options:
        constant = made.value.constant
        found = {float(constant)} if isinstance(constant, bool) else {s.value for s in self.numbers.of(made)}
        return tuple(map(everywhere, found))

    def _operation(self, made: Source) -> Options:
        parts, name = made.value.arguments, made.value.name
        if len(parts) == 1:
            return changed(self.of(made.of(parts[0])), name)
        return self.computed(made, name, *parts) if len(parts) == 2 and name in OPERATORS else ()

    def computed(self, made: Source, name: str, left: Value, right: Value) -> Options:
        a, b = self.of(made.of(left)), self.of(made.of(right))
        if a and b:
            return each(lambda one, other: one.joined(other, OPERATORS[name]), a, b)
        compared = self.positions.compared(NAMES.get(name, name), made.of(left), made.of(right))
        return (compared,) if compared is not None else ()

    def _item(self, made: Source, base: Value) -> Options:
        """`mask[:, None, :]`, `self.tril[:t, :t]`, `batch["attention_mask"]`."""
        index = made.value.arguments[0]
        if index.constant == "attention_mask":
            return (Marks(TOKENS, 1, 0, sure=False),)
        options, parts = self.of(made.of(base)), index.arguments if index.kind == "tuple" else (index,)
        begun = any(part.name.startswith("_") for part in parts)  # a triangle that is moved
        moved = begun and any(marks.turned() != marks for marks in options)
        return options if not moved and all(part.kind == "unknown" or _is_none(part) for part in parts) else ()


@lru_cache(100)
def _bound_to(function: Function) -> Mapping[Value, list[int]]:
    """The assignments, by each part of what they bind."""
    found: dict[Value, list[int]] = defaultdict(list)
    for at, event in enumerate(function.events):
        for part in event.value.within() if event.kind == "assign" and event.value is not None else ():
            found[part].append(at)
    return found


def _is_none(value: Value) -> bool:
    return value.kind == "constant" and value.constant is None
