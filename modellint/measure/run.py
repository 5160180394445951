"""The Run: everything a probe measured, as plain data that rules judge and `run.json` keeps.

Norms are L2 norms in float64 of float32 accumulations; `None` means "not measured", never "zero".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modellint.core.diagnostic import Location, Problem
from modellint.core.record import dataclass, field, replace

RUN_SCHEMA = "modellint-run/1"


@dataclass(frozen=True, slots=True)
class Distribution:
    """Elementwise statistics of one tensor."""

    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """What enters the readout, as a matrix of `rows` samples by `width` features."""

    rows: int = 0
    width: int = 0
    values: Distribution = Distribution()
    rank: float | None = None  # effective rank exp(H(p)), p = normalised singular values of the centred matrix
    distance_min: float | None = None  # smallest and largest Euclidean distance between two samples of the batch
    distance_max: float | None = None


@dataclass(frozen=True, slots=True)
class Logits:
    """What enters the class loss, as `rows` by `classes`."""

    rows: int = 0
    classes: int = 0
    values: Distribution = Distribution()
    spread: float | None = None  # std over the rows, averaged over the classes: 0 when the output ignores the input
    rows_sum_to_one: bool | None = None  # every row non-negative and summing to 1: probabilities, not scores
    log_probabilities: bool | None = None  # the exponentials of every row sum to 1
    meets_itself: bool = False  # rows and columns are the same samples, each of which is most similar to itself


@dataclass(frozen=True, slots=True)
class Pair:
    """What enters a loss over single numbers, such as mean squares, and the targets that it is held against."""

    shape: tuple[int, ...] = ()
    target_shape: tuple[int, ...] = ()
    input: Distribution = Distribution()
    target: Distribution = Distribution()
    positives: int | None = None  # targets that are 1, where all others are 0
    kurtosis: float | None = None  # of the targets


@dataclass(frozen=True, slots=True)
class Transcripts:
    """The targets of a CTC loss."""

    samples: int = 0
    labels: int = 0
    blanks: int = 0  # of the labels, those that are the blank; not at the end of a sample, where they are padding
    too_long: int = 0  # samples with more labels than their inputs can hold


@dataclass(frozen=True, slots=True)
class Batch:
    """What enters the model: the tensors of the first call of a step."""

    fingerprint: str = ""  # equal batches have equal ones
    shape: tuple[int, ...] = ()  # of the first tensor
    values: Distribution = Distribution()  # of the largest float tensor
    idle: tuple[str, ...] = ()  # trained batch norms and dropouts of a model that is called in evaluation mode


@dataclass(frozen=True, slots=True)
class Times:
    """The time steps that a model is given, one for each sample, as in diffusion."""

    samples: int = 0
    low: float = 0.0
    high: float = 0.0
    whole: bool = False  # integers
    echoes: bool = False  # the target of the loss is what the model was given with them


@dataclass(frozen=True, slots=True)
class Clip:
    """One call that clips gradients, as it happened within the step."""

    kind: str = "norm"  # "norm" or "value"
    bound: float | None = None  # max_norm, or clip_value
    norm: float | None = None  # the total norm that the call saw (of the parameters it was given)
    parameters: tuple[str, ...] = ()
    after_backward: bool = True  # False: no backward() came between the last step()/zero_grad() and this call
    after_step: bool = False  # True: the optimizer had already stepped on these gradients
    location: Location = Location()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Calls of the trained model with different batches that no backward() followed."""

    step: int = 0  # steps that had been made
    graphs: bool = False  # gradients were enabled: a graph was built of each batch
    active: tuple[str, ...] = ()  # dropouts and batch norms that were in training mode
    location: Location = Location()


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the run that was watched; the first begins with its first step."""

    index: int = 0
    phase: str = "start"  # what opened it: "optimizer", "epoch", "evaluation", "requires_grad"
    step: int = 0  # steps that had been made


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, from the backward() calls that feed it to the update it makes."""

    index: int = 0  # counts from 0, per optimizer
    optimizer: int = 0
    loss: float | None = None  # the value backward() started from, undone by the loss scale
    class_loss: float | None = None  # mean cross entropy in nats per row, unweighted and unsmoothed
    objective: float | None = None  # the loss as it is meant, whatever trains: -log p of probabilities, shapes matched
    rows: int | None = None  # rows of the class loss, ignored labels left out
    predictions: tuple[int, ...] = ()  # argmax of the logits; at most 4,096 rows, evenly spaced
    labels: tuple[int, ...] = ()  # the labels of the same rows
    logits: Logits | None = None
    features: Features | None = None
    gradient_norm: float | None = None  # over the optimizer's parameters at the end of the last backward(), unscaled
    gradient_norm_at_step: float | None = None  # what the optimizer applies
    gradients: Mapping[str, float | None] = field(default_factory=dict)  # per parameter, at the end of backward()
    gradients_at_step: Mapping[str, float | None] = field(default_factory=dict)
    updates: Mapping[str, float | None] = field(default_factory=dict)  # norm of the change / norm before, per parameter
    weights: Mapping[str, float | None] = field(default_factory=dict)  # norm before the step, per parameter
    # of the elements of parameters in half precision that have a gradient, the part that the step left as they were
    stuck: float | None = None
    norms_at_backward: tuple[float, ...] = ()  # of the optimizer's parameters at EVERY backward() entry of this step
    # For each of them, how far the weights had been moved straight up the gradients that it found, which it adds to; None
    # where they had not.
    climbs: tuple[float | None, ...] = ()
    backwards: int = 1
    class_losses: int = 0  # losses over classes that the last backward() came from
    window: int = 0  # the part of the run that it belongs to
    clips: tuple[Clip, ...] = ()
    learning_rate: float | None = None
    loss_scale: float | None = None
    # d (what backward() started from) / d (value of its loss function), undone by the loss scale: 1/k under
    # accumulation, negative where the loss is maximised; the largest, where several losses are summed.
    loss_weight: float | None = None
    pair: Pair | None = None
    regression: Pair | None = (
        None  # of all losses over single numbers, such as mean squares, the one with the largest targets
    )
    transcripts: Transcripts | None = None
    batch: Batch | None = None
    times: Times | None = None
    zero_units: Mapping[str, float] = field(
        default_factory=dict
    )  # share of a ReLU's units that are 0 in all rows, by the weight before it
    graph_size: int | None = None  # operations in the graph of the loss, at most 5,000
    graphs_alive: int | None = None  # graphs that backward() has gone through and that are still held after the step
    skipped: bool = False  # the gradient scaler skipped the update
    non_finite: tuple[str, ...] = ()  # "loss", "logits", "features", "gradient of NAME", "parameter NAME"
    rank_losses: tuple[float | None, ...] = ()  # the loss of each rank; empty where one process trains alone
    # How far the replicas of a parameter are apart before this step: (largest - smallest sum of its values over the
    # ranks) / its norm; exactly 0 where they are the same. Shards are no replicas and not listed.
    apart: Mapping[str, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        if not self.predictions:
            return None
        return sum(p == t for p, t in zip(self.predictions, self.labels, strict=True)) / len(self.predictions)


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


@dataclass(frozen=True, slots=True)
class Draw:
    """A random function that a model calls in evaluation mode."""

    name: str
    location: Location = Location()


@dataclass(frozen=True, slots=True)
class Examination:
    """What a copy of the model did with its last inputs, in evaluation mode, after the last watched step."""

    name: str  # "batch-mixing", "causality", "copying", "padding", "determinism" or "capacity"
    found: bool | None = None  # whether the fault shows; None: it was not made, and `reason` says why
    reason: str = ""
    value: float | None = None  # mixing: part of the other samples that change; capacity: loss / guessing; else: change
    sure: bool = True  # False: it may be by design
    draws: tuple[Draw, ...] = ()
    origin: Location = Location()  # the user's line that calls the module which makes the fault
    location: Location = Location()  # the class of the model


@dataclass(frozen=True, slots=True)
class Run:
    """A probe of one command (or of one model in process)."""

    steps: tuple[Step, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    optimizers: tuple[Optimizer, ...] = ()
    model: Model | None = None
    loss: Loss | None = None
    classes: int | None = None
    label_counts: Mapping[int, int] = field(default_factory=dict)  # over all watched rows of the class loss
    places: Mapping[str, Location] = field(default_factory=dict)  # the lines of "model", "loss", "backward", "step"
    examinations: tuple[Examination, ...] = ()
    graph: Mapping[str, Any] | None = None  # the plain Graph, as modellint.graph reads it
    files: tuple[str, ...] = ()  # the user's own source files that the run executed
    written: tuple[str, ...] = ()  # files that the run created
    discarded: Mapping[str, str] = field(
        default_factory=dict
    )  # in a sandbox: "created", "changed" or "deleted", by path
    invented: tuple[str, ...] = ()  # data sets that were not there: what depends on them says nothing
    network: tuple[str, ...] = ()  # host:port of others than this machine that the run turned to
    command: tuple[str, ...] = ()
    requested_steps: int = 0  # of each window
    windows: tuple[Window, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    followers: tuple[Follower, ...] = ()
    bystanders: tuple[Bystander, ...] = ()
    ranks: int = 1  # processes that train together; norms are those over all of them
    remedies: tuple[str, ...] = ()  # that a re-run was asked to try and that took effect
    status: str = "completed"  # "completed", "stopped" (before a file was overwritten), "failed", "hung", "no step"
    problem: Problem | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)  # "start", "steps", "total"
    environment: Mapping[str, str] = field(default_factory=dict)  # python, torch, device
    folder: str | None = None  # where run.json, the script's output and the per-process files lie
    schema: str = RUN_SCHEMA

    def of(self, optimizer: int) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.optimizer == optimizer)

    def examined(self, name: str) -> Examination:
        return next((e for e in self.examinations if e.name == name), Examination(name, reason="no step was the last"))

    def place(self, name: str, module: str | None = None) -> Location:
        """The user's line of "model", "loss", "backward" or "step", as far as it is known, and a module path."""
        known = (
            self.places.get(name) or self.places.get("backward") or self.places.get("grad") or Location()
        )  # a loss may be written by hand
        return replace(known, module=module)
