"""Whose parameters a value holds: `net.parameters()`, groups of them, filtered, chained, or those of an optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .code import Value
from .owners import UNKNOWN, Owners
from .resolve import Resolver
from .scope import Source
from .vocabulary import is_optimizer

PARAMETERS = ("parameters", "named_parameters")
GATHERS = ("list", "tuple", "iter", "set", "sorted", "chain", "from_iterable")
LONGEST = 300  # values looked at for one question


class Parameters:
    """Modules go by where they are made, as `Owners` tell."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.owners = Owners(resolver)
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
        return _known(self.owners.of(source))

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
            yield from self.owners.of(made.of(call.receiver))
        elif call.name == "filter" and len(call.arguments) == 2:
            yield from self._held(made.of(call.arguments[1]))
        elif call.method in GATHERS:
            yield from self._all(made, call.arguments)
        elif call.method == "master_params" and call.arguments:
            yield from (f for s in self.resolver.of(made.of(call.arguments[0])) for f in self._optimized(s))
        elif call.name == "torch.nn.Parameter" or call.argument(None, "requires_grad") is not None:
            yield made.place
        else:
            yield UNKNOWN

    def _optimized(self, made: Source) -> Iterator[str]:
        given = made.value.argument(0, "params") if made.value.kind == "call" else None
        if given is None or not is_optimizer(made.value.name) or _is_one_of_several(made, given):
            yield UNKNOWN
        else:
            yield from self._held(made.of(given))

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


def _known(found: Iterable[str]) -> tuple[str, ...]:
    names = sorted(set(found))
    return () if UNKNOWN in names else tuple(names)
