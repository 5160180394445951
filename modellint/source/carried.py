"""States that a loop feeds back: what a model gives in one pass, and is given in the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from .code import Function, Value
from .facts import Act
from .place import loops_around
from .resolve import Resolver
from .roles import Roles
from .scope import Source
from .vocabulary import NO_MODELS


class Carried:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)

    def of(self, source: Source, name: str) -> Act | None:
        """A model that is given what goes by a name and gives it back, in one pass of a loop after the other."""
        call = source.value
        while call.kind == "item" and call.base is not None:
            call = call.base
        if call.kind != "call" or call.base is not None or call.name in NO_MODELS or not _is_given(call, name):
            return None
        if not _goes_on(source.frame.function, source.at or 0, name):
            return None
        roles = self.roles.of(source.of(Value("name", call.name, location=call.location)))
        if roles.isdisjoint(("model", "")):
            return None
        return Act("carry", call, (name,), recorded=self._keeps_graph(source.of(call)))

    def _keeps_graph(self, source: Source) -> bool | None:
        """Whether the model that is called can be read, and cuts no state off."""
        callees = self.resolver.calls.callees(source)
        known = all(
            c.name.startswith("torch.nn.") or (c.script and "detach" not in c.script.attributes) for c in callees
        )
        return True if callees and known else None


def _is_given(call: Value, name: str) -> bool:
    given = (*call.arguments, *(value for _, value in call.keywords))
    return any(part.name == name for value in given for part in value.within())


def _goes_on(function: Function, at: int, name: str) -> bool:
    """Whether nothing else in the loop gives the state another value, or cuts off its graph."""
    around = loops_around(function, at)
    if not around:
        return False
    bound, cut = _changed(function, around[0])
    return not cut and all(place == at for place in bound.get(name, ()))


@lru_cache(1000)
def _changed(function: Function, loop: int) -> tuple[Mapping[str, list[int]], bool]:
    """Where a loop binds or deletes each name or an item of it, and whether it cuts off any graph."""
    found: dict[str, list[int]] = defaultdict(list)
    cut = False
    for at, event in function.inside(loop):
        if event.kind in ("assign", "augment", "delete"):
            found[event.name.partition("[")[0]].append(at)
        cut = cut or (event.kind == "call" and event.value is not None and event.value.method == "detach_")
    return found, cut
