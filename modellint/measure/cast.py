"""Who takes part in a run: the model, its parameters and loss, optimizers, and networks that stand by, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass, field


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the found model or of an optimizer."""

    name: str
    shape: tuple[int, ...] = ()
    module: str = ""  # dotted path of the owning module
    module_class: str = ""
    role: str = "representation"  # "readout" for the module that feeds the loss
    optimizer: int | None = None
    requires_grad: bool = True
    zero_initialised: bool = False
    weight_decay: float = 0.0
    fresh: bool = False  # frozen, and its values are those that it was made with, as their distribution tells
    loose: bool = False  # a loss gives it a gradient, and no optimizer holds it
    location: Location = Location()  # where the class of the owning (user) module is written, and its module path

    @property
    def is_weight(self) -> bool:
        return len(self.shape) >= 2


@dataclass(frozen=True, slots=True)
class Optimizer:
    name: str = "SGD"
    learning_rate: float | None = None  # the largest of its groups
    parameters: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()  # parameters that it holds more than once
    backwards: int | None = None  # calls of backward() that gave its parameters a gradient, while it was watched
    settings: Mapping[str, Any] = field(default_factory=dict)  # weight_decay, momentum, betas, ... of the first group
    location: Location = Location()


@dataclass(frozen=True, slots=True)
class Model:
    name: str = ""  # class name
    parameters: int = 0  # number of scalars
    readout: str | None = None  # dotted path of the module that feeds the loss
    readout_location: Location = Location()  # the user's line that calls it
    location: Location = Location()  # the class
    momenta: Mapping[str, float] = field(default_factory=dict)  # of the batch norms that are trained


@dataclass(frozen=True, slots=True)
class Loss:
    kind: str = ""  # "cross_entropy", "nll", "binary_cross_entropy_with_logits", "mse", ...; "" when not recognised
    weighted: bool = False  # class weights or pos_weight
    reduction: str = "mean"
    dense: bool = False  # a label for each place of a sample, such as the pixels of an image
    ignore_index: int | None = None
    location: Location = Location()
    class_weights: tuple[float, ...] = ()  # of up to 1,000 classes; of a binary loss 1 and its pos_weight


@dataclass(frozen=True, slots=True)
class Follower:
    """A network of the same names and shapes as one that an optimizer trains: a moving average, a target, a copy."""

    name: str  # class name
    optimizer: int = 0  # of the trained one
    # Before each step: the part of the way to the trained network that it was moved since the last; 0 where it stayed,
    # None where it was not moved straight, or nothing was measured.
    rates: tuple[float | None, ...] = ()
    pulls: tuple[float | None, ...] = ()  # and the part of the way that the trained one was moved to it in that time
    stepped: int = 0  # steps of the optimizer that moved it, too


@dataclass(frozen=True, slots=True)
class Bystander:
    """A network that is asked in steps and that no optimizer trains, with dropouts or batch norms in training mode."""

    name: str  # class name
    dropouts: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()  # batch norms that keep statistics
    steps: int = 0
    shapes: tuple[tuple[int, ...], ...] = ()  # of its inputs
    location: Location = Location()  # the user's line that calls it
