"""The loss calls of a script, and what made the predictions that they are given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from modellint.core.pattern import pattern

from . import tensors
from .batches import Batches
from .code import Event, Value
from .dataflow import Dataflow
from .facts import Loss, Operation
from .resolve import Resolver
from .scope import Callee, Source
from .script import Script
from .shapes import Shapes
from .units import Units

FUNCTIONS = {
    "cross_entropy": "CrossEntropyLoss",
    "nll_loss": "NLLLoss",
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "kl_div": "KLDivLoss",
    "ctc_loss": "CTCLoss",
    "mse_loss": "MSELoss",
    "l1_loss": "L1Loss",
    "smooth_l1_loss": "SmoothL1Loss",
    "huber_loss": "HuberLoss",
    "triplet_margin_loss": "TripletMarginLoss",
    "triplet_margin_with_distance_loss": "TripletMarginWithDistanceLoss",
    "cosine_embedding_loss": "CosineEmbeddingLoss",
    "margin_ranking_loss": "MarginRankingLoss",
    "hinge_embedding_loss": "HingeEmbeddingLoss",
}
INPUTS = ("input", "log_probs", "anchor", "input1")  # what the first argument is called
PAIRED = frozenset({"MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"})  # compare what they are given item by item
LAYERS = frozenset(FUNCTIONS.values())
SOUNDS = pattern(
    r"loss|criteri|objective|entropy|kl_div|bce|nll|mse|(?<![a-z])[a-z]?ce$|(?-i:CE$)", re.IGNORECASE
)  # no `isinstance`, no `reduce`
MOST = 8  # alternatives of one input


class Losses:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.dataflow = Dataflow(resolver)
        self.batches = Batches(resolver)
        self.shapes = Shapes(resolver)
        self.units = Units(resolver)
        self._known: set[str] = set()
        self._read = 0  # scripts whose losses are known

    def of(self, script: Script) -> Iterator[Loss]:
        for function in script.functions:
            for at, event in enumerate(function.events):
                if event.kind != "call" or event.value is None:
                    continue
                if self._may_be_loss(event.value):
                    yield from self._loss(Source(event.value, self.resolver.frame(script, function), at))
                elif parts := _compared(event.value):
                    source = Source(event.value, self.resolver.frame(script, function), at)
                    yield Loss("", event.value, shapes=self._shapes(source, *parts))

    def _may_be_loss(self, call: Value) -> bool:
        """Two arguments or more, and called as losses are, or as one that a loaded script makes."""
        if len(call.arguments) + len(call.keywords) < 2:
            return False
        if call.base is not None:
            return call.name in ("", "forward") and (call.base.kind == "call" or _sounds(str(call.base)))
        return _sounds(call.name) or call.method in self._names()

    def _names(self) -> set[str]:
        """The names that loss layers are bound to in all scripts loaded by now."""
        scripts = self.resolver.project.scripts
        for script in scripts[self._read :]:
            for function in script.functions if not LAYERS.isdisjoint(script.called) else ():
                self._known.update(e.name.rpartition(".")[2] for e in function.events if _makes_loss(e))
                self._known.update(
                    p.name for p in function.parameters if p.default is not None and _is_layer(p.default)
                )
        self._read = len(scripts)
        return self._known

    def _loss(self, source: Source) -> Iterator[Loss]:
        call, callees = source.value, self.resolver.calls.callees(source)
        losses = [(kind, callee.made) for callee in callees if (kind := _kind(callee))]
        given = next((v for name in INPUTS if (v := call.argument(0, name)) is not None), None)
        if losses and given is not None:
            (kind, made), target = losses[0], call.argument(1, "target")
            certain = len(losses) == len(callees) and all(other == kind for other, _ in losses)
            batched = target is not None and self.batches.hold(source.of(target))
            paths = self._paths(source, given), self._paths(source, target)
            shapes = self._shapes(source, given, target) if target is not None and kind in PAIRED else ()
            handed = _handed(source, target) if target is not None else None
            yield Loss(kind, call, *paths, made.value if made else None, certain, batched, shapes, handed)

    def _shapes(self, source: Source, given: Value, target: Value) -> tuple[tuple[int | None, ...] | None, ...]:
        """Those of both; where only that of a batch of targets is known, at least whether the predictions are a column."""
        first, second = self.shapes.of(source.of(given)), self.shapes.of(source.of(target))
        row = first is None and second == (None,) and self.batches.hold(source.of(target))
        return ((None, 1) if row and self.units.are_one(source.of(given)) else first), second

    def _paths(self, source: Source, given: Value | None) -> tuple[tuple[Operation, ...], ...]:
        """What made an argument, on each path."""
        alternatives = self.resolver.of(source.of(given))[:MOST] if given is not None else ()
        return tuple([self.dataflow.back(made) for made in alternatives])


@cache
def _sounds(name: str) -> bool:
    return SOUNDS.search(name) is not None


def _handed(source: Source, target: Value) -> tuple[int, str] | None:
    """The parameter that is the target, by place and name, if its function takes nothing without a first or last item."""
    function, name = source.frame.function, tensors.followed(source.frame.function, target, source.at).name
    names = [parameter.name for parameter in function.parameters[int(function.owner is not None) :]]
    if name not in names or tensors.shifts(function):
        return None
    return names.index(name), name


def _compared(call: Value) -> tuple[Value, ...]:
    """What a loss that is written by hand compares: `((x - y) ** 2).mean()`, `torch.mean(torch.abs(x - y))`."""
    if call.method not in ("mean", "sum"):
        return ()
    inner = next(iter(call.arguments), None) if call.name.startswith("torch.") else call.base
    if inner is not None and inner.kind == "call" and inner.method in ("pow", "square", "abs"):
        inner = next(iter(inner.arguments), None) if inner.name.startswith("torch.") else inner.base
    elif inner is not None:
        inner = inner.arguments[0] if inner.name == "**" else None
    return inner.arguments if inner is not None and inner.name == "-" and len(inner.arguments) == 2 else ()


def _makes_loss(event: Event) -> bool:
    return event.kind == "assign" and event.value is not None and _is_layer(event.value)


def _is_layer(value: Value) -> bool:
    return value.kind == "call" and value.method in LAYERS


def _kind(callee: Callee) -> str:
    last = callee.name.rpartition(".")[2]
    if callee.made is not None:
        return last if last in LAYERS and callee.name.startswith("torch.nn.") else ""
    return FUNCTIONS.get(last, "") if callee.name.startswith("torch.") else ""
