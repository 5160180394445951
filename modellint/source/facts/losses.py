"""A loss, and what else is done with the scores that it takes."""

from __future__ import annotations

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass
from modellint.source.code import Value

from .models import Operation


@dataclass(frozen=True, slots=True)
class Loss:
    """A call of a loss function; `kind` is the layer's name ("CrossEntropyLoss") in either form, "" for a sum by hand."""

    kind: str
    call: Value
    inputs: tuple[tuple[Operation, ...], ...] = ()  # what made the first argument, last operation first, on each path
    targets: tuple[tuple[Operation, ...], ...] = ()  # what made the second
    made: Value | None = None  # the call that constructs it, in the form of a layer
    certain: bool = True  # False: another loss or function may be called here
    batched: bool = False  # the target is surely that of a batch
    shapes: tuple[tuple[int | None, ...] | None, ...] = ()  # of input and target, of losses that compare item by item
    given: tuple[int, str] | None = None  # the parameter of its function that is the target, where nothing is shifted

    @property
    def location(self) -> Location:
        return self.call.location

    @property
    def settings(self) -> Value:
        """The call that holds its options, such as `reduction`."""
        return self.made or self.call


@dataclass(frozen=True, slots=True)
class Decision:
    """What is decided of the scores that a loss takes.

    `kind` is "threshold" (of one half) or "round"; of a single score also "argmax", "max", "softmax".
    """

    kind: str
    call: Value  # or the comparison
    scores: Operation | None = None  # the layer that makes them, if it can be read
    losses: tuple[Loss, ...] = ()  # that take the same scores
    squashed: bool = False  # they go through a sigmoid
    axis: int | None = None  # over which it is made, as it is written
    flat: bool = False  # the scores surely have two axes

    @property
    def location(self) -> Location:
        return self.call.location
