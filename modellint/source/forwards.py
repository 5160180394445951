"""Calls of a model: of which one, whether it tells the modes apart, and whether autograd records it."""

from __future__ import annotations

from . import gradient
from .code import Function, Value
from .evaluating import called_as
from .facts import Act
from .models import Models
from .modes import Modes
from .parameters import Parameters
from .registration import WEIGHTED
from .relevance import Relevance
from .resolve import Resolver
from .roles import CONVENTIONS, Roles
from .scope import Source
from .script import Script
from .vocabulary import NO_MODELS


class Forwards:
    def __init__(self, resolver: Resolver, models: Models, relevance: Relevance) -> None:
        self.resolver = resolver
        self.relevance = relevance
        self.modes = Modes(resolver, models)
        self.roles = Roles(resolver)
        self.parameters = Parameters(resolver)

    def of(self, source: Source) -> Act | None:
        """The call of a model, if it is one."""
        call = source.value
        name = called_as(call)
        if call.base is not None or not may_be_model(name):
            return None
        called = source.of(Value("name", name, location=call.location))
        if "model" not in self.roles.of(called):
            return None
        held, modal = self.parameters.of_module(called), self.modes.tell(called)
        recorded = True if self._always_recorded(source) and self._may_learn(called) else None
        return Act("model", call, kept=source.used, parameters=held, recorded=recorded, modal=modal)

    def _always_recorded(self, source: Source) -> bool:
        """Whether no model that may be called turns autograd off by itself, or differentiates."""
        for callee in self.resolver.calls.callees(source):
            function, script = callee.function, callee.script
            if function is None or script is None:
                continue
            if gradient.handled(script) or "grad" in script.called or self._differentiates(function, script):
                return False
            if not all(gradient.recorded(function, block) for block in range(len(function.blocks))):
                return False
        return True

    def _differentiates(self, forward: Function, script: Script) -> bool:
        names = self.relevance.reach.names(script, "backward")
        near = (c for c in forward.calls if c.method in names or c.method == "backward")
        return any(
            call.method in ("backward", call.name)
            or self.resolver.project.function(script, f"{forward.owner}.{call.method}")
            for call in near
        )

    def _may_learn(self, called: Source) -> bool:
        """Whether a model that is called shows weights, or none of them can be read."""
        models = list(self.modes.models.made(called))
        names = [layer.name for model in models for layer in (*model.layers, *model.made)]
        foreign = any("." in name and not name.startswith("torch.") for name in names)
        return not models or foreign or any(not name or WEIGHTED.fullmatch(name) for name in names)


def may_be_model(full: str) -> bool:
    """A name that may be a model's, before it is looked up: no class, no method of another object, no library's."""
    head, _, name = full.rpartition(".")
    if not name or name in NO_MODELS or (name[:1].isupper() and any(map(str.islower, name))):
        return False
    return head in ("", "self") or name in CONVENTIONS or head.startswith("self.")
