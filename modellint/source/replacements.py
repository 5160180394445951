"""Layers that are put into a model after an optimizer was given its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modellint.core.pattern import pattern

from .branches import arms
from .code import Function, Value
from .facts import within
from .items import CONTAINERS
from .parameters import PARAMETERS, Parameters
from .registration import WEIGHTED
from .resolve import Resolver
from .roles import Roles
from .scope import Source
from .vocabulary import is_optimizer

PREDICTOR = pattern(r"torchvision\.models\.detection\.\w+\.\w+Predictor")  # of boxes and masks


class Replacements:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)
        self.parameters = Parameters(resolver)

    def after(self, made: Source, held: Iterable[str]) -> Iterator[Value]:
        """The new layers, for an optimizer that is made so and holds the parameters of some modules."""
        function, at = made.frame.function, made.at or 0
        if any(_takes_anew(call) for call in _later(function, at)):
            return
        before = dict(arms(function, function.events[at].block))
        for place, event in enumerate(function.events[at + 1 :], at + 1):
            whole = event.name.partition("[")[0].rpartition(".")[0]
            if event.kind != "assign" or whole in ("", "self") or event.value is None:
                continue
            same_arms = all(before.get(test, arm) == arm for test, arm in arms(function, event.block))
            layer = Source(event.value, made.frame, place)
            if same_arms and self._is_new(layer, event.name) and self._is_of(layer, whole, made, held):
                yield event.value

    def _is_of(self, layer: Source, whole: str, made: Source, held: Iterable[str]) -> bool:
        """Whether the whole is among the modules, or is called as one of which the optimizer is given the parameters."""
        modules = self.parameters.of_module(layer.of(Value("name", whole, location=layer.value.location)))
        if any(within(module, one) for module in modules for one in held):
            return True
        inside = (part for part in made.value.within() if part.method in PARAMETERS and part.receiver is not None)
        names = {str(part.receiver) for part in inside}
        bound = {event.name for event in made.frame.function.events[made.at or 0 : layer.at] if event.kind == "assign"}
        return any(within(whole, name) and not any(within(name, other) for other in bound) for name in names)

    def _is_new(self, layer: Source, target: str) -> bool:
        """A layer with weights, made here and not from what it takes the place of; of that it may read the sizes."""
        call, whole = layer.value, target.partition("[")[0].rpartition(".")[0]
        old = (target, target.partition("[")[0], whole)
        if call.kind != "call" or within(call.name, whole) or any(part.name in old for part in call.within()):
            return False
        names = [callee.name for callee in self.resolver.calls.callees(layer)]
        known = bool(names) and all(
            name.startswith("torch.nn.") for name in names
        )  # an activation has nothing to train
        return any(self._has_weights(name, layer) for name in names) or (not known and "model" in self.roles.of(layer))

    def _has_weights(self, name: str, layer: Source) -> bool:
        if name in CONTAINERS:
            inside = (part.name for part in layer.value.within() if part.kind == "call")
            return any(WEIGHTED.fullmatch(part) for part in inside)
        return WEIGHTED.fullmatch(name) is not None or PREDICTOR.fullmatch(name) is not None


def _later(function: Function, at: int) -> Iterator[Value]:
    return (e.value for e in function.events[at + 1 :] if e.kind == "call" and e.value is not None)


def _takes_anew(call: Value) -> bool:
    """Whether a later call gives an optimizer parameters again."""
    return call.method == "add_param_group" or (is_optimizer(call.name) and call.method[:1].isupper())
