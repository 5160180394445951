"""The model classes of a script as facts."""

from __future__ import annotations

from collections.abc import Iterator

from .code import Class
from .dataflow import Dataflow
from .facts import Model, Operation
from .layers import Layers
from .lineage import SOFT, Lineage
from .registration import Registration
from .resolve import Resolver
from .roles import Roles
from .scope import Frame, Source
from .script import Script
from .states import carried


class Models:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.roles = Roles(resolver)
        self.layers = Layers(resolver)
        self.dataflow = Dataflow(resolver)
        self.registration = Registration(resolver)
        self._known: dict[int, Model] = {}

    def of(self, script: Script) -> Iterator[Model]:
        for class_ in script.classes:
            if self.roles.of_class(script, class_) == "model":
                yield self.model(script, class_)

    def made(self, source: Source) -> Iterator[Model]:
        """The models that a value may be."""
        for made in self.resolver.of(source):
            classes = self.resolver.members.classes(made) if made.value.kind == "call" else ()
            yield from (self.model(script, class_) for script, class_ in classes)

    def model(self, script: Script, class_: Class) -> Model:
        known = self._known.get(id(class_))
        if known is None:
            known = self._known[id(class_)] = self._read(script, class_)
        return known

    def _read(self, script: Script, class_: Class) -> Model:
        forward, init = (self._method(script, class_, name) for name in ("forward", "__init__"))
        return Model(
            class_.name,
            self.layers.applied(forward, self._lost(forward)) if forward else (),
            self.returns(forward) if forward else (),
            tuple(self.layers.made(script, init)) if init else (),
            tuple(self.registration.hidden(script, class_)),
            class_.location,
            carried(self.resolver.project, script, class_),
        )

    def _lost(self, forward: Frame) -> frozenset[int]:
        """The calls from which a forward's results are computed, but from none with its graph."""
        if (
            not any(call.method in SOFT for call in forward.function.calls)
            and "detach" not in forward.script.attributes
        ):
            return frozenset()
        returned = self.resolver.results.returned(forward)
        reached, beyond = (
            {id(made.value) for result in returned for made in lineage.of(result)}
            for lineage in (Lineage(self.resolver), Lineage(self.resolver, beyond=True))
        )
        return frozenset(beyond - reached)

    def returns(self, forward: Frame) -> tuple[Operation, ...]:
        returned = self.resolver.results.returned(forward)
        return self.dataflow.back(returned[-1]) if returned else ()

    def _method(self, script: Script, class_: Class, name: str) -> Frame | None:
        return next(self.resolver.members.methods(script, class_, name, None), None)
