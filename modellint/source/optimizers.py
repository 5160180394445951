"""The optimizers that a script makes: their family, learning rates and the models that they train."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .branches import arms
from .code import Value
from .facts import Model, Optimizer, Setting
from .leftover import Leftover
from .models import Models
from .numbers import Numbers
from .parameters import Parameters
from .relations import Relations
from .replacements import Replacements
from .resolve import Resolver
from .scope import Source
from .script import Script
from .usage import Usages
from .vocabulary import is_optimizer, is_scheduler

PARAMETERS = ("parameters", "named_parameters")
JOINS = ("list", "tuple", "chain")


class Optimizers:
    def __init__(self, resolver: Resolver, models: Models) -> None:
        self.resolver = resolver
        self.models = models
        self.numbers = Numbers(resolver)
        self.parameters = Parameters(resolver)
        self.replacements = Replacements(resolver)
        self.leftover = Leftover(resolver)
        self.usages = Usages(Relations(resolver.project))

    def of(self, script: Script) -> Iterator[Optimizer]:
        made = [(source, source.value.name) for source in self._calls(script) if is_optimizer(source.value.name)]
        made += [(source, name) for source in self._chosen(script) if (name := self._class(source))]
        schedulers = [source for source in self._calls(script) if is_scheduler(source.value.name)] if made else []
        for source, name in made:
            yield self._made(source, name, schedulers)

    def _calls(self, script: Script) -> Iterator[Source]:
        """The calls of classes."""
        for function in script.functions:
            for at, event in enumerate(function.events):
                if event.kind == "call" and event.value is not None and event.value.method[:1].isupper():
                    yield Source(event.value, self.resolver.frame(script, function), at)

    def _chosen(self, script: Script) -> Iterator[Source]:
        """The calls of what is taken from a table or a module by a name: `OPTIMIZERS["adam"](...)`, `getattr(optim, name)(...)`."""
        for function in script.functions:
            for at, event in enumerate(function.events):
                call = event.value if event.kind == "call" else None
                if (
                    call is not None
                    and call.base is not None
                    and not call.name
                    and call.argument(None, "lr") is not None
                ):
                    yield Source(call, self.resolver.frame(script, function), at)

    def _class(self, source: Source) -> str:
        """The class of the optimizer that is made, or that of any; empty if something else may be made."""
        names = {callee.name for callee in self.resolver.calls.callees(source)}
        if not names or not all(map(is_optimizer, names)):
            return ""
        return names.pop() if len(names) == 1 else "torch.optim.*"

    def _made(self, source: Source, name: str, schedulers: Iterable[Source]) -> Optimizer:
        given = source.value.argument(0, "params")
        values = self.resolver.of(source.of(given)) if given is not None else []
        script, function = source.frame.script, source.frame.function
        used = self.usages.of(script, function, source.value)
        held = self.parameters.of(source.of(given)) if given is not None else ()
        return Optimizer(
            name,
            source.value,
            tuple(self._rates(source)),
            tuple({model.name: model for part in values for model in self._trained(part)}.values()),
            not values or any(self._are_modules(part) for part in values),
            tuple(scheduler.value.method for scheduler in schedulers if self._moves(scheduler, source)),
            used.stepped,
            used.clears,
            held,
            tuple(self.replacements.after(source, held)),
            next(_twice(values[0].value), "") if len(values) == 1 else "",
            tuple(self.leftover.of(source, given)) if given is not None else (),
        )

    def _rates(self, source: Source) -> Iterator[Setting]:
        """Of the call itself, and of the parameter groups that have their own; not those of one of several choices."""
        rate, given = source.value.argument(1, "lr"), source.value.argument(0, "params")
        if rate is not None:
            found = self.numbers.of(source.of(rate))
            yield from found if rate.kind == "constant" else (s for s in found if self._is_its_own(s, source))
        for group in self.resolver.items.all(source.of(given)) if given is not None else ():
            for key, value in group.value.keywords:
                if key == "lr" and group.value.kind == "dict":
                    yield from self.numbers.of(group.of(value))

    def _is_its_own(self, rate: Setting, source: Source) -> bool:
        """Of one of several arms of a branching, a rate from before it is that of another arm, as likely as not."""
        function = source.frame.function
        block = function.events[source.at or 0].block
        arm, written = function.blocks[block].location, rate.location
        return not arms(function, block) or (written.path == arm.path and (written.line or 0) > (arm.line or 0))

    def _trained(self, held: Source) -> Iterator[Model]:
        """The models whose `parameters()` the optimizer is given, directly, in groups or through a filter."""
        for part in held.value.within():
            if part.kind == "call" and part.method in PARAMETERS and part.receiver is not None:
                yield from self.models.made(held.of(part.receiver))

    def _are_modules(self, held: Source) -> bool:
        if held.value.kind == "list":
            return any(item.kind != "name" for item in held.value.arguments)
        return True

    def _moves(self, scheduler: Source, source: Source) -> bool:
        given = scheduler.value.argument(0, "optimizer")
        return given is not None and any(made.value is source.value for made in self.resolver.of(scheduler.of(given)))


def _twice(value: Value) -> Iterator[str]:
    """The modules whose `parameters()` are joined to themselves."""
    seen: set[str] = set()
    for part in _joined(value):
        if part in seen:
            yield part
        seen.add(part)


def _joined(value: Value) -> Iterator[str]:
    if value.kind == "call" and value.method == "parameters" and value.receiver is not None and not value.arguments:
        yield str(value.receiver)
    elif value.kind in ("operation", "list", "tuple", "starred") or (value.kind == "call" and value.method in JOINS):
        parts = (*value.arguments, *((value.base,) if value.kind == "starred" and value.base is not None else ()))
        yield from (found for part in parts for found in _joined(part))
