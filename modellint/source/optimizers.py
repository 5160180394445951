"""The optimizers that a script makes: their family, learning rates and the models that they train."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import Model, Optimizer, Setting
from .models import Models
from .numbers import Numbers
from .resolve import Resolver
from .scope import Source
from .script import Script
from .vocabulary import is_optimizer

PARAMETERS = ("parameters", "named_parameters")


class Optimizers:
    def __init__(self, resolver: Resolver, models: Models) -> None:
        self.resolver = resolver
        self.models = models
        self.numbers = Numbers(resolver)

    def of(self, script: Script) -> Iterator[Optimizer]:
        for function in script.functions:
            for at, event in enumerate(function.events):
                call = event.value
                if event.kind == "call" and call is not None and call.method[:1].isupper() and is_optimizer(call.name):
                    yield self._made(Source(call, self.resolver.frame(script, function), at))

    def _made(self, source: Source) -> Optimizer:
        models = {model.name: model for model in self._trained(source)}
        return Optimizer(source.value.name, source.value, tuple(self._rates(source)), tuple(models.values()))

    def _rates(self, source: Source) -> Iterator[Setting]:
        """Of the call itself, and of the parameter groups that have their own."""
        rate, given = source.value.argument(1, "lr"), source.value.argument(0, "params")
        yield from self.numbers.of(source.of(rate)) if rate is not None else ()
        for group in self.resolver.items.all(source.of(given)) if given is not None else ():
            for key, value in group.value.keywords:
                if key == "lr" and group.value.kind == "dict":
                    yield from self.numbers.of(group.of(value))

    def _trained(self, source: Source) -> Iterator[Model]:
        """The models whose `parameters()` the optimizer is given, directly, in groups or through a filter."""
        given = source.value.argument(0, "params")
        for made in self.resolver.of(source.of(given)) if given is not None else ():
            for part in made.value.within():
                if part.kind == "call" and part.method in PARAMETERS and part.receiver is not None:
                    yield from self.models.made(made.of(part.receiver))
