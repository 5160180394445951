"""Whose parameters a value holds: `net.parameters()`, groups of them, filtered, chained, or those of an optimizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from modellint.core.pattern import pattern

from .code import Value
from .resolve import Resolver
from .scope import Frame, Source
from .vocabulary import is_optimizer

PARAMETERS = ("parameters", "named_parameters")
GATHERS = ("list", "tuple", "iter", "set", "sorted", "chain", "from_iterable")
LONGEST = 300  # values looked at for one question
MOST = 60  # values that a module is made with
UNKNOWN = ""
Seen = set[tuple[Value, Frame]]
# Classes whose objects modules are made with, and that hold no parameters.
PLAIN = pattern(r"config|args|option|hparam|namespace|token|vocab|space|data|env|path|device|size", re.IGNORECASE)
NUMBERS = pattern(
    r".+\.(?:(?:in|out|num|n)_\w+|(?:\w+_)?(?:dims?|sizes?|channels|width|classes|units)|\w+_(?:features|planes))"
)
READY = pattern(r"torchvision\.models\..+|timm\..*create_model|torch\.hub\.load|.+Model\w*\.from_pretrained")


class Parameters:
    """Tells modules apart by where they are made; a part of a module is called after the whole."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._left = LONGEST

    def of(self, source: Source) -> tuple[str, ...]:
        """The modules whose parameters the value holds; none where that cannot be read in full."""
        self._left = LONGEST
        return _known(self._held(source))

    def of_optimizer(self, source: Source) -> tuple[str, ...]:
        """The modules whose parameters an optimizer holds."""
        self._left = LONGEST
        return _known(found for made in self.resolver.of(source) for found in self._optimized(made))

    def of_module(self, source: Source) -> tuple[str, ...]:
        """The module itself, and those that it is made with."""
        return _known(self._modules(source, set()))

    def _held(self, source: Source) -> Iterator[str]:
        self._left -= 1
        if self._left < 0 or self._grows(source):
            yield UNKNOWN
            return
        for made in self.resolver.of(source):
            yield from self._part(made)

    def _part(self, made: Source) -> Iterator[str]:
        value = made.value
        if value.kind == "call":
            yield from self._called(made)
        elif value.kind == "name" and value.method == "param_groups" and value.receiver is not None:
            yield from (f for s in self.resolver.of(made.of(value.receiver)) for f in self._optimized(s))
        elif value.kind in ("item", "element", "starred") and value.base is not None:
            yield from self._held(made.of(value.base))
        elif value.kind == "comprehension" and value.base is not None:
            whole = set(self._held(made.of(value.base)))
            yield from whole if UNKNOWN not in whole else self._all(made, value.arguments)
        elif value.kind == "dict":
            yield from self._all(made, [v for key, v in value.keywords if key == "params"])
        elif value.kind in ("list", "tuple", "set", "operation"):
            yield from self._all(made, value.arguments)
        else:
            yield UNKNOWN

    def _all(self, made: Source, parts: Iterable[Value]) -> Iterator[str]:
        parts = list(parts)
        yield from (found for part in parts for found in self._held(made.of(part)))
        if not parts:
            yield UNKNOWN

    def _called(self, made: Source) -> Iterator[str]:
        call = made.value
        if call.method in PARAMETERS and call.receiver is not None:
            yield from self._modules(made.of(call.receiver), set())
        elif call.name == "filter" and len(call.arguments) == 2:
            yield from self._held(made.of(call.arguments[1]))
        elif call.method in GATHERS:
            yield from self._all(made, call.arguments)
        elif call.method == "master_params" and call.arguments:
            yield from (f for s in self.resolver.of(made.of(call.arguments[0])) for f in self._optimized(s))
        elif call.name == "torch.nn.Parameter":
            yield made.place
        else:
            yield UNKNOWN

    def _optimized(self, made: Source) -> Iterator[str]:
        given = made.value.argument(0, "params") if made.value.kind == "call" else None
        if given is None or not is_optimizer(made.value.name) or _is_one_of_several(made, given):
            yield UNKNOWN
        else:
            yield from self._held(made.of(given))

    def _modules(self, source: Source, seen: Seen) -> Iterator[str]:
        for made in self.resolver.of(source):
            key, value = (made.value, made.frame), made.value
            if len(seen) > MOST:
                yield UNKNOWN
            elif key not in seen:
                seen.add(key)
                yield from self._module(made, value, seen)

    def _module(self, made: Source, value: Value, seen: Seen) -> Iterator[str]:
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

    def _grows(self, source: Source) -> bool:
        """A list that is appended to: not all that it holds can be read."""
        name = source.value.name
        if source.value.kind != "name" or name.startswith("torch."):
            return False
        growing = {f"{name}.append", f"{name}.extend", f"{name}.insert"}
        return any(call.name in growing for call in source.frame.function.calls)


def _is_one_of_several(made: Source, given: Value) -> bool:
    """Whether a loop makes an optimizer for each of several modules: which one it holds is not known."""
    function = made.frame.function
    block = next((event.block for event in function.events if event.value is made.value), 0)
    loops = set()
    while block:
        loops.add(block)
        block = function.blocks[block].parent
    elements = {
        e.name for e in function.events if e.block in loops and e.value is not None and e.value.kind == "element"
    }
    return any(part.name.split(".")[0] in elements for part in given.within())


def _may_be_module(value: Value) -> bool:
    """A name that nothing binds, a library's model, or an object of a class that is not called as options and data are."""
    if value.kind == "name":
        return NUMBERS.fullmatch(value.name) is None  # `net.in_features`
    ready = value.kind == "call" and READY.fullmatch(value.name) is not None
    return ready or (value.method[:1].isupper() and PLAIN.search(value.method) is None)


def _known(found: Iterable[str]) -> tuple[str, ...]:
    names = sorted(set(found))
    return () if UNKNOWN in names else tuple(names)


def _place(made: Source) -> str:
    """Of a name that nothing binds; a parameter whose callers are not known may be anything."""
    name, frame = made.value.name, made.frame
    if any(p.name == name for scope in frame.around for p in scope.function.parameters):
        return UNKNOWN
    owner = frame.method.function.owner if name.startswith("self.") and frame.method else ""
    return f"{frame.script.path}:{owner}>{name}"
