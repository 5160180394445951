"""What changes weights: an optimizer, and a moving average that follows them."""

from __future__ import annotations

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass
from modellint.source.code import Value

from .acts import Act
from .models import Model
from .settings import Setting


@dataclass(frozen=True, slots=True)
class Optimizer:
    """A call that makes an optimizer; `name` is the full name of its class, `torch.optim.*` where it may be any."""

    name: str
    call: Value
    rates: tuple[Setting, ...] = ()  # the learning rates that it is given, as far as they can be read
    models: tuple[Model, ...] = ()  # the project's models whose parameters it is given
    of_modules: bool = True  # False if it is given tensors one by one: pixels, latent vectors
    schedulers: tuple[str, ...] = ()  # the classes of the schedulers that are made for it
    stepped: bool = True  # False only if nothing in the project may step it
    clears: tuple[Value, ...] = ()  # the calls that clear its gradients where a backward() makes them
    held: tuple[str, ...] = ()  # the modules whose parameters it is given, by where they are made; none: not known
    replaced: tuple[Value, ...] = ()  # layers with weights that are put into these modules later
    twice: str = ""  # a module whose parameters it is given twice
    left: tuple[Value, ...] = ()  # the calls that make parts, at random, of a model of which it is given other parts
    looped: bool = False  # a training loop of the project steps it

    @property
    def location(self) -> Location:
        return self.call.location

    @property
    def family(self) -> str:
        return self.name.rpartition(".")[2]

    def made(self, act: Act) -> bool:
        """Whether `act` concerns this optimizer."""
        return any(subject.endswith(f">{self.spot}") for subject in act.subjects)

    @property
    def spot(self) -> str:
        """Where it is made, as the subjects of acts tell."""
        return f"{self.location.path}:{self.location.line}:{self.location.column}"


@dataclass(frozen=True, slots=True)
class Average:
    """A moving average of weights, and the weights that it follows, as they are written."""

    call: Value  # the call or expression that updates it
    name: str
    follows: str
    shares: tuple[Setting, ...] = ()  # of itself that it keeps: one for each value that the rate may have
    named: bool = True  # the names tell which of the two is the average; else it is what is changed in place

    @property
    def location(self) -> Location:
        return self.call.location
