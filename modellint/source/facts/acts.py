"""One step of the training ritual, and what is read off its call."""

from __future__ import annotations

from collections.abc import Iterable

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass
from modellint.source.branches import contradict
from modellint.source.code import Value

from .subjects import MADE, within


@dataclass(frozen=True, slots=True)
class Schedule:
    """A call that makes a learning rate scheduler; `name` is that of its class."""

    name: str
    call: Value
    optimizers: tuple[str, ...] = ()  # whose rate it moves, by where they are made
    counts: str = ""  # "batches" or "epochs", as far as its horizon tells
    certain: bool = False  # the horizon is computed so, not only called so
    divided: bool = (
        False  # the horizon is a quotient: of batches by those that one step of the optimizer takes, perhaps
    )

    @property
    def location(self) -> Location:
        return self.call.location


@dataclass(frozen=True, slots=True)
class Summand:
    """A part of the sum that a backward() starts from."""

    value: Value
    sign: int = 1  # 0: not known
    cut: Value | None = None  # what cuts it off from its graph: `x.item()`, `x.data`, `torch.tensor(x)`
    given: Value | None = None  # the outermost call of a function of the project that returns it
    likelihood: bool = False  # the log-likelihood of labels, picked from log-probabilities by hand
    written: int = 1  # its sign, where what it is multiplied by counts as positive unless that is known


@dataclass(frozen=True, slots=True)
class Act:
    """One step of the training ritual, as a loop performs it itself or through a helper.

    `kind` is "clear" (of gradients), "backward", "clip", "unscale", "step", "update" (of a scaler), "schedule",
    "model" (a call of a model), "eval" and "train" (the modes of a model), "mode" (either of them),
    "keep" (a value is added to a sum or list that outlives the pass), "carry" (a model is given a state that it gave
    back in the pass before), "first" (the first batch of a loader),
    "unknown" (a helper that was not found and is given an optimizer, or may clear gradients).
    """

    kind: str
    call: Value
    subjects: tuple[str, ...] = ()  # the objects it concerns (where they are made, or their name); none: unknown or all
    scaled: bool = False  # through a gradient scaler
    owner: str = ""  # the framework that owns it: "deepspeed", "accelerate", ...; it may do more than the call says
    kept: bool = False  # of a "clip" or "model": something uses what it gives back
    bound: tuple[float, ...] = ()  # of a clip: max_norm or clip_value, as far as they can be read
    branches: tuple[tuple[str, str], ...] = ()  # (which branching, which arm), outermost first
    loops: tuple[str, ...] = ()  # loops within the training loop that enclose it
    anew: str = ""  # of a "keep": the innermost loop in each of whose passes the sum or list begins anew
    parameters: tuple[str, ...] = ()  # the modules whose parameters it touches, or that are called; none: not known
    origins: tuple[Value, ...] = ()  # of a backward(): all calls and operations that its loss was computed from
    behind: tuple[Value, ...] = ()  # likewise those from which nothing but cut-off values lead to it
    summands: tuple[Summand, ...] = ()  # of a backward(): what its loss is the sum of
    terms: tuple[str, ...] = ()  # of a backward() or "keep": the calls whose results it is a sum of, by their places
    schedules: tuple[Schedule, ...] = ()  # that a "schedule" moves on; none: not known
    recorded: bool | None = True  # whether autograd builds a graph of what it computes; None: not known
    modal: bool | None = None  # of a "model" or "eval": whether it computes something else in training
    stills: bool = False  # of a "mode": some modules of a model are put into evaluation mode

    @property
    def location(self) -> Location:
        return self.call.location

    def excludes(self, other: Act) -> bool:
        """Whether both lie in different arms of one branching, so that only one of them happens."""
        return contradict(self.branches, other.branches)

    def concerns(self, other: Act) -> bool:
        """Whether both may touch the same object."""
        if self.subjects and other.subjects:
            known = {bool(MADE.search(subject)) for subject in (*self.subjects, *other.subjects)}
            return len(known) > 1 or not set(self.subjects).isdisjoint(other.subjects)
        return not self.parameters or not other.parameters or self.shares(other.parameters)

    def shares(self, parameters: Iterable[str]) -> bool:
        """Whether it touches parameters of one of the modules, or of a part or a whole of it."""
        return any(within(a, b) or within(b, a) for a in self.parameters for b in parameters)
