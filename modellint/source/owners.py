"""Modules as the owners of parameters, told apart by where they are made."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint.core.pattern import pattern

from .code import Value
from .resolve import Resolver
from .scope import Frame, Source

MOST = 60  # values that a module is made with
UNKNOWN = ""
Seen = set[tuple[Value, Frame]]
# Classes whose objects modules are made with, and that hold no parameters.
PLAIN = pattern(r"config|args|option|hparam|namespace|token|vocab|space|data|env|path|device|size", re.IGNORECASE)
NUMBERS = pattern(
    r".+\.(?:(?:in|out|num|n)_\w+|(?:\w+_)?(?:dims?|sizes?|channels|width|classes|units)|\w+_(?:features|planes)|n|shape)"
)
READY = pattern(r"torchvision\.models\..+|timm\..*create_model|torch\.hub\.load|.+Model\w*\.from_pretrained")


class Owners:
    """A part of a module is called after the whole."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, source: Source) -> Iterator[str]:
        """The modules that a value may be, each with those that it is made with."""
        return self._modules(source, set())

    def _modules(self, source: Source, seen: Seen) -> Iterator[str]:
        for made in self.resolver.of(source):
            key = made.value, made.frame
            if len(seen) > MOST:
                yield UNKNOWN
            elif key not in seen:
                seen.add(key)
                yield from self._module(made, seen)

    def _module(self, made: Source, seen: Seen) -> Iterator[str]:
        value = made.value
        if value.kind == "call":
            yield made.place
            parts = (*value.arguments, *(item for _, item in value.keywords))
            yield from (found for part in parts for found in self._wrapped(made.of(part), seen))
        elif value.kind == "name":
            yield from self._named(made, seen)
        elif value.kind == "item" and value.base is not None and value.arguments[0].constant is not None:
            yield from (f"{s.place}.{value.arguments[0].constant}" for s in self.resolver.of(made.of(value.base)))
        else:
            yield UNKNOWN

    def _wrapped(self, source: Source, seen: Seen) -> Iterator[str]:
        """The modules among the arguments with which a module is made."""
        if source.value.kind in ("list", "tuple", "starred", "dict"):
            parts = (*source.value.arguments, *(value for _, value in source.value.keywords), source.value.base)
            yield from (found for part in parts if part is not None for found in self._wrapped(source.of(part), seen))
        elif source.value.kind in ("name", "call"):
            made = [s for s in self.resolver.of(source) if _may_be_module(s.value)]
            yield from (found for s in made for found in self._modules(s, seen) if found != UNKNOWN)

    def _named(self, made: Source, seen: Seen) -> Iterator[str]:
        """A name that nothing binds, or an attribute of a module that is made elsewhere."""
        head, _, attribute = made.value.name.rpartition(".")
        if not head or head == "self":
            yield _place(made)
        else:
            for whole in self._modules(made.of(Value("name", head, location=made.value.location)), seen):
                yield whole if attribute == "module" or whole == UNKNOWN else f"{whole}.{attribute}"


def _may_be_module(value: Value) -> bool:
    """A name that nothing binds, a library's model, or an object of a class that is not called as options and data are."""
    if value.kind == "name":
        return NUMBERS.fullmatch(value.name) is None  # `net.in_features`
    ready = value.kind == "call" and READY.fullmatch(value.name) is not None
    return ready or (value.method[:1].isupper() and PLAIN.search(value.method) is None)


def _place(made: Source) -> str:
    """Of a name that nothing binds; a parameter whose callers are not known may be anything."""
    name, frame = made.value.name, made.frame
    if any(p.name == name for scope in frame.around for p in scope.function.parameters):
        return UNKNOWN
    owner = frame.method.function.owner if name.startswith("self.") and frame.method else ""
    return f"{frame.script.path}:{owner}>{name}"
