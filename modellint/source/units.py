"""Whether a value is the output of a layer that has one unit: one number for each sample, along a last axis of its own."""

from __future__ import annotations

from .code import Value
from .resolve import Resolver
from .scope import Source

KEEPS = frozenset("relu sigmoid tanh exp float double half to cuda cpu clone contiguous type dropout".split())
LAYERS = frozenset("ReLU GELU Tanh Sigmoid ELU SELU SiLU LeakyReLU Softplus Dropout Identity Hardtanh".split())
HEADS = ("fc", "classifier", "head", "heads")
MODELS = ("torchvision.models.", "timm.create_model")
DEEPEST = 40


class Units:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def are_one(self, source: Source, depth: int = 0) -> bool:
        """True only if every value that it may be ends in such a layer, or in what keeps the shape of its output."""
        found = self.resolver.of(source) if depth < DEEPEST else []
        return bool(found) and all(self._ends_in_one(made, depth + 1) for made in found)

    def _ends_in_one(self, made: Source, depth: int) -> bool:
        call = made.value
        callees = self.resolver.calls.callees(made) if call.kind == "call" else []
        if len(callees) != 1:
            return False
        module, given = callees[0].made, next(iter(call.arguments), None)
        if module is not None and callees[0].class_ is None:
            pointwise = callees[0].name.removeprefix("torch.nn.") in LAYERS and given is not None
            return self.are_one(made.of(given), depth) if pointwise and given is not None else self._is_single(module)
        given = given if call.name.startswith("torch.") else call.receiver
        return call.method in KEEPS and given is not None and self.are_one(made.of(given), depth)

    def _is_single(self, module: Source) -> bool:
        """Whether a layer, or the last one of a Sequential, has one unit; or a library's model that is made with one."""
        call = module.value
        if call.name.startswith(MODELS):
            units = call.argument(None, "num_classes") or _replaced(module)
            return units is not None and units.constant == 1
        if call.method == "Sequential" and call.arguments:
            layers = [s for item in self.resolver.items.all(module)[-1:] for s in self.resolver.of(item)]
            return len(layers) == 1 and self._is_single(layers[0])
        units = call.argument(1, "out_features") if call.name == "torch.nn.Linear" else None
        found = self.resolver.of(module.of(units)) if units is not None else []
        return bool(found) and all(made.value.constant == 1 for made in found)


def _replaced(model: Source) -> Value | None:
    """The number of units of the last layer that a library's model is given: `model.fc = nn.Linear(512, 1)`."""
    events = model.frame.function.events
    names = {event.name for event in events if event.kind == "assign" and event.value is model.value}
    for event in events if names else ():
        owner, _, name = event.name.rpartition(".")
        layer = event.value if event.kind == "assign" and owner in names and name in HEADS else None
        if layer is not None and layer.name == "torch.nn.Linear":
            return layer.argument(1, "out_features")
    return None
