"""The data loaders of a script: what they draw from, in which order, and which training loop goes over them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from .code import Function, Value
from .facts import Loader, Sampler, TrainingLoop
from .resolve import Resolver
from .scope import Frame, Source
from .script import Script

PAIRING = ("enumerate", "zip", "islice")
FRAMEWORKS = frozenset(
    {"accelerate", "lightning", "pytorch_lightning", "lightning_fabric", "ignite", "composer", "ray"}
)
POSITIONS = {"dataset": 0, "shuffle": 2, "sampler": 3, "batch_sampler": 4}
SAMPLER = {"shuffle": 3}


class Loaders:
    def __init__(self, resolver: Resolver, loops: Iterable[TrainingLoop]) -> None:
        self.resolver = resolver
        self.loops = tuple(loop for loop in loops if loop.whole)

    def of(self, script: Script) -> Iterator[Loader]:
        for source in self._made(script):
            yield self._loader(*self._reached.get(_spot(source.value), (source, None)))

    def _made(self, script: Script) -> Iterator[Source]:
        for function in script.functions:
            for at, event in enumerate(function.events):
                if event.kind == "call" and event.value is not None and is_loader(event.value):
                    yield Source(event.value, self.resolver.frame(script, function), at)

    @cached_property
    def _reached(self) -> dict[tuple[object, ...], tuple[Source, TrainingLoop]]:
        """The loaders that training loops go over, each as it is made for the first of these loops."""
        found: dict[tuple[object, ...], tuple[Source, TrainingLoop]] = {}
        for loop in self.loops:
            made = {_spot(s.value): s for s in self._over(loop) if s.value.kind == "call" and is_loader(s.value)}
            for spot, source in made.items() if len(made) == 1 else ():  # one of several may be that of an evaluation
                found.setdefault(spot, (source, loop))
        return found

    def _over(self, loop: TrainingLoop) -> Iterator[Source]:
        """What the loop goes over."""
        for script in self.resolver.project.at([loop.location.path]):
            function = self.resolver.project.function(script, loop.function)
            if function is not None:
                frame = self.resolver.frame(script, function)
                for index, block in enumerate(function.blocks):
                    if block.kind == "for" and block.location == loop.location and block.value is not None:
                        yield from self._elements(Source(block.value, frame, _start(function, index)))

    def _elements(self, source: Source) -> Iterator[Source]:
        for made in self.resolver.of(source):
            if made.value.kind == "call" and made.value.method in PAIRING:
                yield from (found for part in made.value.arguments for found in self._elements(made.of(part)))
            else:
                yield made

    def _loader(self, made: Source, loop: TrainingLoop | None) -> Loader:
        call, script = made.value, made.frame.script
        samplers = [s for name in ("sampler", "batch_sampler") for s in self._given(made, name, POSITIONS)]
        return Loader(
            call,
            shuffled=self._flag(made, "shuffle", POSITIONS, default=False),
            samplers=tuple(self._sampler(s) for s in samplers if s.value.kind != "constant"),
            sometimes=any(s.value.kind == "constant" for s in samplers),
            datasets=tuple(
                dict.fromkeys(name for s in self._given(made, "dataset", POSITIONS) for name in self._classes(s))
            ),
            data=tuple(s.value for s in self._given(made, "dataset", POSITIONS) for s in self._parts(s)),
            loop=loop,
            reseeded=self._reseeded(made.frame, loop),
            owned=any(full.partition(".")[0] in FRAMEWORKS for full in script.imports.values()),
        )

    def _sampler(self, made: Source) -> Sampler:
        names = [callee.name for callee in self.resolver.calls.callees(made)] if made.value.kind == "call" else []
        shuffled = self._flag(made, "shuffle", SAMPLER, default=True) if names else None
        return Sampler(next(iter(names), ""), made.value, shuffled)

    def _flag(self, made: Source, name: str, positions: Mapping[str, int], default: bool) -> bool | None:
        """Whether a call is told so; None where that cannot be read."""
        flags = {s.value.constant if s.value.kind == "constant" else "" for s in self._given(made, name, positions)}
        unknown = made.value.unpacks or len(flags) > 1 or "" in flags
        return None if unknown else bool(next(iter(flags), default))

    def _given(self, made: Source, name: str, positions: Mapping[str, int]) -> list[Source]:
        given = made.value.argument(positions[name], name)
        return self.resolver.of(made.of(given)) if given is not None else []

    def _parts(self, dataset: Source, left: int = 8) -> Iterator[Source]:
        """The calls that make the datasets of which one is joined or taken."""
        value = dataset.value
        joined = value.kind == "call" and value.method == "ConcatDataset"
        if left and joined and value.arguments:
            parts = self.resolver.items.all(dataset.of(value.arguments[0]))
        elif left and value.kind == "operation" and value.name == "+":
            parts = [dataset.of(part) for part in value.arguments]
        elif left and value.kind == "call" and value.method in ("Subset", "random_split") and value.arguments:
            parts = [dataset.of(value.arguments[0])]
        elif left and value.kind == "item" and value.base is not None:
            parts = [dataset.of(value.base)]
        else:
            parts = []
            yield dataset
        yield from (found for part in parts for made in self.resolver.of(part) for found in self._parts(made, left - 1))

    def _classes(self, dataset: Source) -> Iterator[str]:
        """The full name of the dataset's class or function, and of the library's classes that it derives from."""
        if dataset.value.kind != "call":
            yield ""
            return
        for callee in self.resolver.calls.callees(dataset):
            yield callee.name
            if callee.class_ is not None and callee.script is not None:
                yield from self.resolver.members.ancestry(callee.script, callee.class_)

    def _reseeded(self, frame: Frame, loop: TrainingLoop | None) -> bool:
        """Whether any file around, or one that imports the file of the loop or of the loader, calls `set_epoch`."""
        paths = [path for path in (frame.script.path, loop.location.path if loop else None) if path]
        folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
        around = os.path.join(folder if loop else os.path.dirname(folder), "")
        names = {os.path.basename(path).removesuffix(".py") for path in paths}
        return any(
            "set_epoch" in script.attributes
            and (os.path.abspath(script.path).startswith(around) or _imports(script, names))
            for script in self.resolver.project.scripts
        )


def _imports(script: Script, names: set[str]) -> bool:
    return any(not names.isdisjoint(full.split(".")) for full in script.imports.values())


def is_loader(call: Value) -> bool:
    module, _, name = call.name.rpartition(".")
    return name == "DataLoader" and (not module or module.startswith("torch")) and call.base is None


def _start(function: Function, block: int) -> int | None:
    return next((at for at, event in enumerate(function.events) if event.block == block), None)


def _spot(call: Value) -> tuple[object, ...]:
    return call.location.path, call.location.line, call.location.column
