"""The loops that call a model: those that train it, those that evaluate it."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass
from modellint.source.code import Value

from .acts import Act


@dataclass(frozen=True, slots=True)
class TrainingLoop:
    """A loop (or a function whose caller is not known: `whole` is False) that steps an optimizer, and its acts in order."""

    acts: tuple[Act, ...]
    function: str = ""
    whole: bool = True
    outer: tuple[Act, ...] = ()  # what the loops around it do besides
    ahead: tuple[Act, ...] = ()  # of these, what comes before it in each pass of a loop around it
    over: tuple[Value | None, ...] = ()  # what the loops around it go over, outermost first, and it itself
    location: Location = Location()
    around: int = 0  # how many loops are around it, in its function and in those that call it
    nest: tuple[str, ...] = ()  # these loops and it itself, outermost first, as acts name them
    places: tuple[Location, ...] = ()  # of the same
    modes: tuple[Act, ...] = ()  # what sets the mode of a model or its parts before it begins, and the calls of models

    def of(self, kind: str) -> Iterator[Act]:
        return (act for act in self.acts if act.kind == kind)

    @property
    def clips(self) -> tuple[Act, ...]:
        return tuple(self.of("clip"))

    @property
    def steps(self) -> tuple[Act, ...]:
        return tuple(self.of("step"))

    def before(self, act: Act) -> Iterator[Act]:
        """The acts that may come before `act` in one pass, nearest first."""
        return (a for a in reversed(self.acts[: self.place(act)]) if not a.excludes(act))

    def after(self, act: Act) -> Iterator[Act]:
        """The acts that may come after `act` in one pass, nearest first."""
        return (a for a in self.acts[self.place(act) + 1 :] if not a.excludes(act))

    def place(self, act: Act) -> int:
        """Which of the acts it is."""
        return next(i for i, a in enumerate(self.acts) if a is act)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A loop that calls a model and trains nothing."""

    call: Value  # of the model
    function: str
    modal: bool | None = None  # whether the model computes something else in training than in evaluation mode
    parameters: tuple[str, ...] = ()  # the modules that are called; none: not known
    modes: tuple[str, ...] = ()  # on each way there: "eval", "train", "asked" (for no training), "mode" (either), ""
    recorded: tuple[bool | None, ...] = ()  # likewise, whether autograd builds a graph; None: not known
    whole: bool = True  # all ways that lead there are known
    used: bool = True  # something takes what the model gives
    over: Value | None = None  # what the loop goes over
    loop: Location = Location()

    @property
    def location(self) -> Location:
        return self.call.location
