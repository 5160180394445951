"""Learning rate schedules: what a scheduler counts by the horizon that it is given, and whose rate it moves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from modellint.core.pattern import pattern

from .code import Value
from .facts import Schedule
from .resolve import Resolver
from .scope import Source
from .vocabulary import is_schedule

TORCH = "torch.optim.lr_scheduler."
# Where a scheduler is told how long the schedule is: position and name.
HORIZONS: dict[str, tuple[tuple[int | None, str], ...]] = {
    "OneCycleLR": ((2, "total_steps"),),
    "CosineAnnealingLR": ((1, "T_max"),),
    "PolynomialLR": ((1, "total_iters"),),
    "LinearLR": ((3, "total_iters"),),
    "ConstantLR": ((2, "total_iters"),),
    "StepLR": ((1, "step_size"),),
    "MultiStepLR": ((1, "milestones"),),
}
CHAINED = "ChainedScheduler"  # is given schedulers, and the optimizer by its name alone
LAMBDAS = ("LambdaLR", "MultiplicativeLR")
DROPS = ("StepLR", "MultiStepLR")  # whose steps are those of the rate, down
BATCHES = pattern(r"(?<![a-z])(steps?|iters?|iterations?|batch(es)?|per_epoch)(?![a-z])")
PASSES = pattern(r"(?<![a-z])(iters?|iterations?|batch(es)?|per_epoch)(?![a-z])")
EPOCHS = pattern(r"epochs?(?![a-z])")
DEEPEST = 3  # names that stand for others


class Schedules:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, source: Source) -> Iterator[Schedule]:
        """The schedules that a scheduler may follow, as far as it is PyTorch's own or one of transformers'."""
        for made in self.resolver.of(source):
            for callee in self.resolver.calls.callees(made) if made.value.kind == "call" else ():
                name = callee.name.rpartition(".")[2]
                if callee.name.startswith(TORCH) or is_schedule(name):
                    given = made.value.argument(0, "optimizer")
                    held = self.resolver.of(made.of(given)) if given is not None and name != CHAINED else ()
                    known = all(
                        source.value.kind == "call" for source in held
                    )  # not `self` of an optimizer's own class
                    places = tuple([source.place for source in held]) if known else ()
                    yield Schedule(name, made.value, places, *self._counts(made, name), self._is_divided(made, name))

    def _counts(self, made: Source, name: str) -> tuple[str, bool]:
        """What the horizon counts, and whether that is more than a name's word."""
        if name in LAMBDAS:
            return self._counted(made), False
        given = _horizons(made.value, name)
        words = {word for value in given for word in self._words(made.of(value), DEEPEST)}
        if "len()" in words or made.value.argument(None, "steps_per_epoch") is not None:
            return "batches", True
        if any((PASSES if name in DROPS else BATCHES).search(word) for word in words):
            return "batches", False
        epochs = {word for word in words if EPOCHS.search(word)}
        return ("epochs", True) if epochs and not self._multiplied(made, given, epochs) else ("", False)

    def _is_divided(self, made: Source, name: str) -> bool:
        given = [made.of(value) for value in _horizons(made.value, name)]
        meant = (source.value for each in given for source in (each, *self._meant(each)))
        parts = (part for value in meant for part in value.within())
        return any(part.name in ("/", "//") or part.method == "ceil" for part in parts)

    def _counted(self, made: Source) -> str:
        """What a function of the rate counts, by the name of what it is given."""
        given = made.value.argument(1, "lr_lambda")
        functions = (s for s in self.resolver.of(made.of(given)) if s.value.kind == "function") if given else ()
        for found in functions:
            function = self.resolver.project.function(found.frame.script, found.value.name)
            name = function.parameters[-1].name.lower() if function is not None and function.parameters else ""
            return "epochs" if EPOCHS.search(name) else "batches" if BATCHES.search(name) else ""
        return ""

    def _multiplied(self, made: Source, given: Iterable[Value], epochs: Collection[str]) -> bool:
        """Whether something that has another name is multiplied into the horizon: batches in an epoch, as likely as not."""
        meant = (s for value in given for s in (made.of(value), *self._meant(made.of(value))))
        products = (part for s in meant for part in s.value.within() if part.kind == "operation" and part.name == "*")
        parts = (part for product in products for part in product.within())
        return any(p.kind == "call" or (p.kind == "name" and p.method.lower() not in epochs) for p in parts)

    def _words(self, source: Source, left: int) -> Iterator[str]:
        """The names in a computation, those that they stand for, and "len()" for the length of anything."""
        for part in source.value.within() if left else ():
            if part.kind == "call" and part.name == "len":
                yield "len()"
            elif part.kind == "name":
                yield part.method.lower()
                yield from (value.method.lower() for value in _other_names(source, part.name))
                yield from (word for s in self._meant(source.of(part)) for word in self._words(s, left - 1))

    def _meant(self, source: Source) -> Iterator[Source]:
        yield from (made for made in self.resolver.of(source) if made.value.kind in ("operation", "call", "name"))


def _horizons(made: Value, name: str) -> list[Value]:
    """What a scheduler is told of how long it goes on."""
    horizons = ((None, "num_training_steps"),) if is_schedule(name) else HORIZONS.get(name, ())
    return [value for place, keyword in horizons if (value := made.argument(place, keyword)) is not None]


def _other_names(source: Source, name: str) -> Iterator[Value]:
    """The names that a name is bound to as they stand: `epochs` of `total = epochs`."""
    bound = (event.value for event in source.frame.function.events if event.kind == "assign" and event.name == name)
    yield from (value for value in bound if value is not None and value.kind == "name")
