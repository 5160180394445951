"""What linking finds in scripts: training loops, optimizers, losses, model classes, command line options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modellint.core.diagnostic import Location
from modellint.core.pattern import pattern
from modellint.core.record import dataclass

from .branches import contradict
from .code import Value

MADE = pattern(r":\d+:\d+$")  # a subject that is called after the place where it is made, not by its name


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that a call is given, and where it is written: in the call, a constant, or the default of an option."""

    value: float
    location: Location = Location()


@dataclass(frozen=True, slots=True)
class Schedule:
    """A call that makes a learning rate scheduler; `name` is that of its class."""

    name: str
    call: Value
    optimizers: tuple[str, ...] = ()  # whose rate it moves, by where they are made
    counts: str = ""  # "batches" or "epochs", as far as its horizon tells
    certain: bool = False  # the horizon is computed so, not only called so

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
    kept: bool = False  # the result of the call is used
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


def path_of(subject: str) -> str:
    """The file in which an object is made that is called after that place; some other text for a name."""
    return subject.rpartition(">")[2].rsplit(":", 2)[0]


def made_in(subject: str, loop: Location) -> bool:
    """Whether one of the calls that made a subject, after whose places it is named, lies in a loop: each pass makes it anew."""
    for part in subject.split(">"):
        path, _, line = part.rpartition(":")[0].rpartition(":")
        if path == loop.path and line.isdigit() and (loop.line or 0) <= int(line) <= (loop.end_line or 0):
            return True
    return False


def within(part: str, whole: str) -> bool:
    """Modules are called after the module in which they are made, or whose attribute they are."""
    return part == whole or part.startswith((f"{whole}>", f"{whole}."))


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
    modes: tuple[str, ...] = ()  # on each way that leads there: "eval", "train", "mode" (either), "" (never set)
    recorded: tuple[bool | None, ...] = ()  # likewise, whether autograd builds a graph; None: not known
    whole: bool = True  # all ways that lead there are known
    used: bool = True  # something takes what the model gives
    over: Value | None = None  # what the loop goes over
    loop: Location = Location()

    @property
    def location(self) -> Location:
        return self.call.location


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


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the command line; `used` is False only if no file of the project reads it."""

    name: str
    call: Value
    used: bool = True

    @property
    def location(self) -> Location:
        return self.call.location


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
