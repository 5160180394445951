"""What one call of a library does to gradients, weights and their schedule."""

from __future__ import annotations

import builtins
from collections.abc import Iterator

from .backwards import Backwards
from .code import Value
from .facts import Act
from .lineage import Lineage
from .models import Models
from .numbers import Numbers
from .parameters import Parameters
from .relevance import CLEARING
from .resolve import Resolver
from .roles import Roles
from .schedules import Schedules
from .scope import Source
from .switches import Switches
from .vocabulary import CLIP_METHODS, CLIPS, HARMLESS, sounds_like_optimizer

BUILTINS = frozenset(dir(builtins))
BOUNDS = ((1, "max_norm"), (None, "clip_value"), (None, "clip_val"))


class Acts:
    def __init__(self, resolver: Resolver, models: Models, lineage: Lineage) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)
        self.numbers = Numbers(resolver)
        self.parameters = Parameters(resolver)
        self.schedules = Schedules(resolver)
        self.switches = Switches(resolver, models)
        self.backwards = Backwards(resolver, lineage)

    def of(self, source: Source, roles: set[str]) -> Act | None:
        """`roles` are those of the object whose method is called."""
        call, receiver = source.value, source.value.receiver
        first = call.arguments[0] if call.arguments else None
        if call.name in CLIPS or call.method in CLIP_METHODS or self._is_clip(source):
            return self._clip(source, roles)
        if call.method in ("backward", "manual_backward"):
            return self.backwards.of(source, _owner(call, roles))
        if call.method == "zero_grad" and receiver is not None:
            return self._clear(source, receiver, roles)
        if call.method == "zero_" and receiver is not None and ".grad" in f".{receiver}":
            return Act("clear", call)
        if call.method == "unscale_" and first is not None:
            return Act("unscale", call, self._subjects(source.of(first)))
        if call.method in ("step", "optimizer_step") and first is not None and self._is_optimizer(first, source):
            return self.step(source, first, scaled="scaler" in roles)
        if call.method == "step" and "framework" in roles:
            return Act("step", call, owner="framework")
        if call.method == "step" and "scheduler" in roles and receiver is not None:
            moved = tuple(self.schedules.of(source.of(receiver)))
            return Act("schedule", call, self._subjects(source.of(receiver)), schedules=moved)
        if call.method in ("eval", "train") and receiver is not None and len(call.arguments) <= 1:
            return self.switches.of(source, receiver)
        if call.method == "apply" and receiver is not None and first is not None:
            return self.switches.applied(source, receiver, first)
        return Act("unknown", call) if self._may_clear(source) else None

    def step(self, source: Source, optimizer: Value, *, scaled: bool = False) -> Act:
        asked = source.of(optimizer)
        held = self.parameters.of_optimizer(asked)
        return Act("step", source.value, self._subjects(asked), scaled, parameters=held)

    def _is_clip(self, source: Source) -> bool:
        """Whether torch's function is called by another name: an alias, or a `partial` of it."""
        return any(callee.name in CLIPS for callee in self.resolver.calls.callees(source))

    def _clip(self, source: Source, roles: set[str]) -> Act:
        call = source.value
        given = call.argument(0, "parameters") if call.method not in CLIP_METHODS or call.name in CLIPS else None
        held = self.parameters.of(source.of(given)) if given is not None else ()
        owner, bound = _owner(call, roles), tuple(self._bound(source))
        return Act("clip", call, owner=owner, kept=source.used, bound=bound, parameters=held)

    def _clear(self, source: Source, receiver: Value, roles: set[str]) -> Act:
        asked, owner = source.of(receiver), _owner(source.value, roles)
        if "optimizer" in roles:
            held = self.parameters.of_optimizer(asked)
            return Act("clear", source.value, self._subjects(asked), owner=owner, parameters=held)
        return Act("clear", source.value, owner=owner, parameters=self.parameters.of_module(asked))

    def _may_clear(self, source: Source) -> bool:
        call = source.value
        if call.name.startswith(("torch.", "numpy.")) or call.name in BUILTINS or HARMLESS.search(call.method):
            return call.method == "_foreach_zero_"
        return CLEARING.fullmatch(call.method) is not None or any(self._is_optimizer(a, source) for a in call.arguments)

    def _is_optimizer(self, value: Value, source: Source) -> bool:
        named = value.kind in ("name", "item") and sounds_like_optimizer(str(value))
        return named and "optimizer" in self.roles.of(source.of(value))

    def _bound(self, source: Source) -> Iterator[float]:
        given = next((v for place, name in BOUNDS if (v := source.value.argument(place, name)) is not None), None)
        yield from (s.value for s in self.numbers.of(source.of(given))) if given is not None else ()

    def _subjects(self, source: Source) -> tuple[str, ...]:
        """What tells the objects apart that a value may be: where each is made, else its name and function."""
        found = [made for made in self.resolver.of(source) if made.value.kind != "constant"]
        return tuple([made.place if made.value.kind == "call" else _named(made) for made in found])


def _named(made: Source) -> str:
    """What nothing binds: an attribute is the same in all methods of an object, another name only in its function."""
    method = made.frame.method
    if method is not None and made.value.name.startswith("self."):
        of_object = method.receiver.place if method.receiver is not None else made.frame.script.path
        return f"{of_object}:{method.function.owner}:{made.value}"
    return f"{made.frame.path}>{made.frame.script.path}:{made.frame.function.name}:{made.value}"


def _owner(call: Value, roles: set[str]) -> str:
    """The framework that a call belongs to, if it is not torch's own."""
    if "framework" in roles or call.method == "manual_backward":
        return "framework"
    return "distributed autograd" if "dist_autograd" in call.name or "distributed.autograd" in call.name else ""
