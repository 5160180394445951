"""Whether a module computes something else in training than in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable

from modellint.core.pattern import pattern

from .code import Value
from .facts import Layer
from .items import CONTAINERS
from .models import Models
from .resolve import Resolver
from .scope import Source

TELLING = pattern(
    r"torch\.nn\.(\w*Dropout\w*|(Lazy|Sync)?BatchNorm\w*|Transformer\w*|RReLU)|torchvision\.models\.\w+(\.\w+)?"
)
RECURRENT = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN", "torch.nn.MultiheadAttention")
FUNCTIONS = pattern(r"torch\.nn\.functional\.\w*dropout\w*")


class Modes:
    def __init__(self, resolver: Resolver, models: Models) -> None:
        self.resolver = resolver
        self.models = models

    def tell(self, source: Source) -> bool | None:
        """None where not all of the module can be read and nothing that can be read tells the modes apart."""
        answers = {self._made(made) for made in self.resolver.of(source)}
        return True if answers == {True} else False if answers == {False} else None

    def _made(self, made: Source) -> bool | None:
        if made.value.kind != "call":
            return None
        for callee in self.resolver.calls.callees(made):
            if callee.class_ is not None and callee.script is not None:
                model = self.models.model(callee.script, callee.class_)
                return any(map(_layer, (*model.layers, *model.made))) or None
            if callee.name in CONTAINERS:
                return _any(self.tell(item) for item in self.resolver.items.all(made))
            return _named(callee.name, made.value)
        return None


def _any(answers: Iterable[bool | None]) -> bool | None:
    given = set(answers)
    return True if True in given else None if None in given else False


def _layer(layer: Layer) -> bool:
    return FUNCTIONS.fullmatch(layer.name) is not None or _named(layer.name, layer.made) is True


def _named(name: str, made: Value | None) -> bool | None:
    if TELLING.fullmatch(name):
        return not (made is not None and _is_off(made))
    if name in RECURRENT:
        given = made.argument(None, "dropout") if made is not None else None
        return given is not None and given.constant != 0
    return False if name.startswith("torch.nn.") else None


def _is_off(made: Value) -> bool:
    """A dropout of nothing."""
    given = made.argument(0, "p") if "Dropout" in made.name else None
    return given is not None and given.kind == "constant" and given.constant == 0
