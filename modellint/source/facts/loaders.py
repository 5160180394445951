"""A DataLoader, and the sampler that it is given."""

from __future__ import annotations

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass
from modellint.source.code import Value

from .loops import TrainingLoop


@dataclass(frozen=True, slots=True)
class Sampler:
    """What a loader is given as its sampler; `name` is the full name of its class, empty if that cannot be read."""

    name: str
    call: Value
    shuffled: bool | None = None  # by its argument `shuffle`; None: cannot be read

    @property
    def location(self) -> Location:
        return self.call.location


@dataclass(frozen=True, slots=True)
class Loader:
    """A call that makes a DataLoader, with what it is given where a training loop goes over it."""

    call: Value
    shuffled: bool | None = False  # None: cannot be read
    samplers: tuple[Sampler, ...] = ()  # what may be its sampler or batch sampler
    sometimes: bool = False  # on some paths it has no sampler
    datasets: tuple[str, ...] = ()  # the classes its dataset may be of, and those that they derive from; "": unknown
    data: tuple[Value, ...] = ()  # the calls that make its dataset, or the datasets that are joined in it
    loop: TrainingLoop | None = None  # the training loop that goes over it
    reseeded: bool = False  # something calls `set_epoch`
    owned: bool = False  # a framework prepares the loaders of the file

    @property
    def location(self) -> Location:
        return self.call.location
