"""The loss calls of a script, and what made the predictions that they are given."""

from __future__ import annotations

from collections.abc import Iterator

from .batches import Batches
from .code import Value
from .dataflow import Dataflow
from .facts import Loss, Operation
from .resolve import Resolver
from .scope import Callee, Source
from .script import Script

FUNCTIONS = {
    "cross_entropy": "CrossEntropyLoss",
    "nll_loss": "NLLLoss",
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "kl_div": "KLDivLoss",
    "mse_loss": "MSELoss",
    "l1_loss": "L1Loss",
    "smooth_l1_loss": "SmoothL1Loss",
    "huber_loss": "HuberLoss",
}
LAYERS = frozenset(FUNCTIONS.values())
MOST = 4  # alternatives of one input


class Losses:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.dataflow = Dataflow(resolver)
        self.batches = Batches(resolver)

    def of(self, script: Script) -> Iterator[Loss]:
        for function in script.functions:
            for at, event in enumerate(function.events):
                if event.kind == "call" and event.value is not None and _may_be_loss(event.value):
                    yield from self._loss(Source(event.value, self.resolver.frame(script, function), at))

    def _loss(self, source: Source) -> Iterator[Loss]:
        call, callees = source.value, self.resolver.calls.callees(source)
        losses = [(kind, callee.made) for callee in callees if (kind := _kind(callee))]
        given = call.argument(0, "input")
        if losses and given is not None:
            (kind, made), target = losses[0], call.argument(1, "target")
            certain = len(losses) == len(callees) and all(other == kind for other, _ in losses)
            batched = target is not None and self.batches.hold(source.of(target))
            paths = self._paths(source, given), self._paths(source, target)
            yield Loss(kind, call, *paths, made.value if made else None, certain, batched)

    def _paths(self, source: Source, given: Value | None) -> tuple[tuple[Operation, ...], ...]:
        """What made an argument, on each path."""
        alternatives = self.resolver.of(source.of(given))[:MOST] if given is not None else ()
        return tuple([self.dataflow.back(made) for made in alternatives])


def _may_be_loss(call: Value) -> bool:
    """Two arguments or more, and not a function of a library other than a functional loss."""
    given = len(call.arguments) + len(call.keywords)
    return given > 1 and (call.method in FUNCTIONS or not call.name.startswith(("torch.", "numpy.")))


def _kind(callee: Callee) -> str:
    last = callee.name.rpartition(".")[2]
    if callee.made is not None:
        return last if last in LAYERS and callee.name.startswith("torch.nn.") else ""
    return FUNCTIONS.get(last, "") if callee.name.startswith("torch.") else ""
