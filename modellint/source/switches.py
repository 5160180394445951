"""Calls that set the mode of a model or of its parts: `eval()` and `train()`, in a loop or by `apply` too."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Value
from .facts import Act
from .models import Models
from .modes import Modes
from .parameters import Parameters
from .resolve import Resolver
from .scope import Source

PARTS = ("modules", "children", "named_modules", "named_children")


class Switches:
    def __init__(self, resolver: Resolver, models: Models) -> None:
        self.resolver = resolver
        self.modes = Modes(resolver, models)
        self.parameters = Parameters(resolver)

    def of(self, source: Source, receiver: Value) -> Act:
        """The call of `eval` or `train`."""
        kind, asked = _mode(source.value), source.of(receiver)
        whole = next((whole for made in self.resolver.of(asked) for whole in _wholes(made)), None)
        if whole is not None:
            return self._of_parts(source, whole, {kind})
        modal = self.modes.tell(asked) if kind == "eval" else None
        return Act(kind, source.value, parameters=self.parameters.of_module(asked), modal=modal)

    def applied(self, source: Source, receiver: Value, given: Value) -> Act | None:
        """`net.apply(f)`, where `f` sets the mode of what it is given."""
        made = [s for s in self.resolver.of(source.of(given)) if s.value.kind == "function"]
        functions = (self.resolver.project.function(s.frame.script, s.value.name) for s in made)
        kinds = {_mode(c) for f in functions if f is not None for c in f.calls if c.method in ("eval", "train")}
        return self._of_parts(source, source.of(receiver), kinds) if kinds else None

    def _of_parts(self, source: Source, whole: Source, kinds: set[str]) -> Act:
        """The mode of some modules of a model; `self` is the one on which the method is called."""
        method = whole.frame.method if whole.value.name == "self" else None
        own = method.receiver if method is not None else None
        held = (own.place,) if own is not None else self.parameters.of_module(whole)
        return Act("mode", source.value, parameters=held, stills=kinds == {"eval"})


def _wholes(made: Source) -> Iterator[Source]:
    """The model whose modules are gone through: `net` of `for m in net.modules()`."""
    parts = (part for part in made.value.within() if part.kind == "call" and part.method in PARTS)
    yield from (made.of(part.receiver) for part in parts if part.receiver is not None)


def _mode(call: Value) -> str:
    given = call.argument(0, "mode")
    if call.method == "eval" or given is None:
        return call.method
    return "mode" if not isinstance(given.constant, bool) else "train" if given.constant else "eval"
