"""A model and what it is made of: layers, operations, the masks that its attention is given."""

from __future__ import annotations

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass
from modellint.source.code import Value


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on the way from a model's input to a value.

    `name` is the full name of a function or layer ("torch.nn.functional.softmax", "torch.nn.Linear"), the name of a tensor's
    method ("softmax"), or an operator ("+").
    """

    name: str
    location: Location = Location()  # where it is applied
    certain: bool = True  # False: only on some paths through the code
    made: Location = Location()  # where a layer is constructed
    call: Value | None = None  # what sets it up: the call that constructs the layer, else the call of the function

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer or function that a model's forward applies.

    `name` is the full name ("torch.nn.Linear", "torch.nn.functional.relu"), that of a tensor's method ("softmax"), or "+" for
    a sum of two activations; "" for a module that cannot be read. `path` is the attribute that holds the layer: `fc`,
    `encoder.0`, `blocks[].norm`.
    """

    name: str
    path: str = ""
    call: Value | None = (
        None  # the call in forward that applies it (for a layer in a Sequential: that of the Sequential)
    )
    made: Value | None = None  # the call that constructs it
    repeated: bool = False  # applied in a loop, or one of many that are
    cut: Value | None = None  # the call in the model's forward that computes it where autograd is off

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def location(self) -> Location:
        return (self.call or self.made or Value("unknown")).location


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask that an attention is given, or that is put into the scores of one by hand.

    `shown` are, for each way that leads there, the positions that it lets the attention see, those that are in all of:
    "tokens" or "padding"; of the pairs of a query i and a key j "past" (j <= i), "before" (j < i), "future" (j > i) or
    "onwards" (j >= i).
    """

    call: Value  # of the attention, or the step that hides scores
    given: Value
    argument: str  # by which the attention takes it; "" by hand
    shown: tuple[frozenset[str], ...]
    sure: bool = True  # False: what it marks is only told by names

    @property
    def location(self) -> Location:
        return self.given.location if self.given.location.line else self.call.location


@dataclass(frozen=True, slots=True)
class Model:
    """A torch.nn.Module class of the file.

    `layers` are what forward applies, in execution order; Sequential, ModuleList, loops and the project's own modules are taken
    apart as far as they can be read, through other files too. The readout is the last layer with weights among `returns`: the
    operations that made the returned value, the last one first. `made` are the layers that __init__ constructs, in order.
    """

    name: str
    layers: tuple[Layer, ...] = ()
    returns: tuple[Operation, ...] = ()
    made: tuple[Layer, ...] = ()
    hidden: tuple[Layer, ...] = ()  # of each plain list or dict of layers that forward uses and nothing registers, one
    location: Location = Location()
    carried: str = ""  # an attribute that forward feeds back from call to call and nothing sets anew or detaches
