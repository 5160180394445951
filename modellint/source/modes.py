"""Whether a module computes something else in training than in evaluation mode."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from modellint.core.pattern import pattern

from .code import Class, Value
from .facts import Layer
from .items import CONTAINERS
from .models import Models
from .resolve import Resolver
from .scope import Source
from .script import Script

TELLING = pattern(
    r"torch\.nn\.(\w*Dropout\w*|(Lazy|Sync)?BatchNorm\w*|Transformer\w*|RReLU)|torchvision\.models\.([\w*]+)(\.\w+)?"
)
RECURRENT = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN", "torch.nn.MultiheadAttention")
DROPS = ("dropout", "drop_rate", "dropout_rate", "dropout_p", "p_dropout")  # how layers of other libraries are told it
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
                model, none = (
                    self.models.model(callee.script, callee.class_),
                    self._none(callee.script, callee.class_, made),
                )
                layers = (*model.layers, *model.made)
                if any(_layer(layer, none) for layer in layers):
                    return True
                return False if layers and all(map(_is_known, layers)) else None
            if callee.name in CONTAINERS:
                return _any(self.tell(item) for item in self.resolver.items.all(made))
            return _named(callee.name, made.value)
        return None

    def _none(self, script: Script, class_: Class, made: Source) -> frozenset[str]:
        """The parameters of its __init__ that are zero in this object: a dropout of that much does nothing."""
        for init in self.resolver.members.methods(script, class_, "__init__", made):
            values = {
                name: {found.value.constant for found in self.resolver.of(v)} for name, v in init.arguments.items()
            }
            return frozenset(name for name, constants in values.items() if constants == {0})
        return frozenset()


def _any(answers: Iterable[bool | None]) -> bool | None:
    given = set(answers)
    return True if True in given else None if None in given else False


def _is_known(layer: Layer) -> bool:
    """A layer of PyTorch's own, or an operation of tensors."""
    return layer.name.startswith("torch.") or (layer.name != "" and "." not in layer.name)


def _layer(layer: Layer, none: Collection[str]) -> bool:
    if FUNCTIONS.fullmatch(layer.name):
        return not _is_off(layer.call.argument(1, "p") if layer.call is not None else None, none)
    return _named(layer.name, layer.made, none) is True


def _named(name: str, made: Value | None, none: Collection[str] = ()) -> bool | None:
    if TELLING.fullmatch(name):
        return made is None or not _is_idle(name, made, none)
    if name in RECURRENT:
        given = made.argument(None, "dropout") if made is not None else None
        return given is not None and not _is_off(given, none)
    if name.startswith("torch.nn."):
        return False
    rates = (made.argument(None, word) for word in DROPS) if made is not None and "." in name else ()
    return True if any(isinstance(rate.constant, float) and 0 < rate.constant < 1 for rate in rates if rate) else None


def _is_idle(name: str, made: Value, none: Collection[str]) -> bool:
    """A dropout of nothing, a batch norm that goes by the batch in both modes."""
    tracked = made.argument(4, "track_running_stats") if "BatchNorm" in name else None
    return ("Dropout" in name and _is_off(made.argument(0, "p"), none)) or (
        tracked is not None and tracked.constant is False
    )


def _is_off(probability: Value | None, none: Collection[str]) -> bool:
    """A dropout of nothing."""
    return probability is not None and (probability.constant == 0 or probability.method in none)
