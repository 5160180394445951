"""Parts of a model, made at random, that no optimizer is given while it is given other parts of the same model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint.core.pattern import pattern

from .code import Class, Function, Value
from .items import CONTAINERS
from .parameters import GATHERS, PARAMETERS
from .registration import WEIGHTED
from .relations import Relations
from .resolve import Resolver
from .roles import Roles
from .scope import Source
from .script import Script
from .vocabulary import is_optimizer

WALKS = frozenset({*PARAMETERS, "modules", "children", "requires_grad_", "load_state_dict", "named_modules"})
# By these a part may be trained before, or be left as it is on purpose.
READY = frozenset(
    {"load_state_dict", "from_pretrained", "load_from_checkpoint", "freeze", "unfreeze", "freeze_encoder"}
)
# What is made to be left at random, or follows another part by other means.
FIXED = pattern(
    r"target|teacher|ema|average|momentum|frozen|fixed|random|reservoir|loss|crit|percep|vgg|feature|codebook|vq|quant|prior|metric"
    r"|old|ref",
    re.IGNORECASE,
)
SOFT = frozenset({"no_grad", "inference_mode", "detach"})


class Leftover:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)
        self.relations = Relations(resolver.project)

    def of(self, made: Source, given: Value) -> Iterator[Value]:
        """The calls that make the parts that an optimizer leaves out, where it is given parts of one model by name."""
        parts = list(self._given(made.of(given), set()))
        wholes = {str(part).rpartition(".")[0] for _, part in parts}
        if len(wholes) != 1 or "" in wholes:
            return
        source, part = parts[0]
        whole = Value("name", wholes.pop(), location=part.location)
        classes = list(self._classes(source.of(whole)))
        if len(classes) == 1:
            yield from self._left(made, *classes[0])

    def _given(self, source: Source, seen: set[int]) -> Iterator[tuple[Source, Value]]:
        """The `model.part` of each `model.part.parameters()`; an unknown value for what else there is."""
        for made in self.resolver.of(source):
            value = made.value
            if id(value) in seen:
                continue
            seen.add(id(value))
            if value.kind == "call" and value.method in PARAMETERS and value.receiver is not None:
                yield made, value.receiver
            elif value.kind == "dict":
                yield from (
                    found
                    for key, part in value.keywords
                    if key == "params"
                    for found in self._given(made.of(part), seen)
                )
            elif value.kind in ("list", "tuple", "operation") or value.method in GATHERS:
                yield from (found for part in value.arguments for found in self._given(made.of(part), seen))
            elif value.kind == "starred" and value.base is not None:
                yield from self._given(made.of(value.base), seen)
            else:
                yield made, Value("unknown")

    def _classes(self, whole: Source) -> Iterator[tuple[Script, Class, Source | None]]:
        method = whole.frame.method
        if whole.value.name == "self" and method is not None:
            own = self.resolver.project.class_(method.script, method.function.owner or "")
            yield from ((method.script, own, None),) if own is not None else ()
            return
        for made in self.resolver.of(whole):
            if made.value.kind == "call":
                yield from ((script, class_, made) for script, class_ in self.resolver.members.classes(made))

    def _left(self, made: Source, script: Script, class_: Class, whole: Source | None) -> Iterator[Value]:
        related = [s for s in self.relations.of(script) if s is script or "parameters" in s.called]
        related += [] if made.frame.script in related else [made.frame.script]
        if self.roles.of_class(script, class_) != "model" or any(READY & s.attributes for s in related):
            return
        if any(_takes_all(function, class_.name) for s in related for function in s.functions):
            return
        walked = {name for s in related for name in _walked(s)}
        own = [f for f in script.functions if f.owner == class_.name]
        for name in dict.fromkeys(attribute.name for attribute in class_.attributes):
            if name not in walked and not FIXED.search(name) and _is_used(own, f"self.{name}"):
                layers = list(self.resolver.members.member(script, class_, name, whole))
                if len(layers) == 1 and self._is_fresh(layers[0]):
                    yield layers[0].value

    def _is_fresh(self, layer: Source) -> bool:
        """A layer with weights, or a module of the project's own that is made of such."""
        call = layer.value
        if call.kind != "call" or any("pretrain" in str(part.name) for part in call.within()):
            return False
        if call.name in CONTAINERS:
            return any(WEIGHTED.fullmatch(part.name) for part in call.within() if part.kind == "call")
        if WEIGHTED.fullmatch(call.name):
            return True
        classes = list(self.resolver.members.classes(layer))
        return (
            len(classes) == 1 and self.roles.of_class(*classes[0]) == "model" and self._is_made_of_layers(*classes[0])
        )

    def _is_made_of_layers(self, script: Script, class_: Class) -> bool:
        init = self.resolver.project.function(script, f"{class_.name}.__init__")
        return init is not None and any(WEIGHTED.fullmatch(call.name) for call in init.calls)


def _walked(script: Script) -> Iterator[str]:
    """The parts whose parameters anything takes: to train, freeze or count them."""
    for value in (value for function in script.functions for value in function.values):
        if value.kind in ("call", "name") and value.method in WALKS and value.receiver is not None:
            yield value.receiver.method


def _takes_all(function: Function, owner: str) -> bool:
    """Whether a function gives an optimizer all parameters of a model, or goes over them to change what is trained."""
    calls = list(function.calls)
    whole = [
        call
        for call in calls
        if call.method in PARAMETERS and call.receiver is not None and _is_whole(call.receiver, function.owner == owner)
    ]
    if not whole:
        return False
    names = {event.name for event in function.events if event.kind == "assign"}
    freezes = any(name.endswith("requires_grad") for name in names) or any(c.method == "requires_grad_" for c in calls)
    optimizes = (part for call in calls if is_optimizer(call.name) for part in call.within())
    return freezes or any(part is call for part in optimizes for call in whole)


def _is_whole(value: Value, inside: bool) -> bool:
    """Whether a name is that of a model and not of a part, inside the model's own class or elsewhere."""
    return value.kind == "name" and "." not in (value.name if inside else value.name.removeprefix("self."))


def _is_used(own: list[Function], name: str) -> bool:
    """Whether a method calls it, with its graph."""
    for function in (f for f in own if not f.name.endswith("__init__")):
        for at, event in enumerate(function.events):
            if event.kind == "call" and event.value is not None and event.value.name == name:
                soft = any(
                    part.method in SOFT
                    for block in function.enclosing(event.block)
                    for part in ((function.blocks[block].value or Value("unknown")).within())
                )
                after = (e.value for e in function.events[at : at + 3] if e.value is not None)
                cut = any(
                    part.method == "detach" and part.base is event.value for value in after for part in value.within()
                )
                return not soft and not cut and not any(d.method in SOFT for d in function.decorators)
    return False
