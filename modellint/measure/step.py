"""One optimizer step, as plain data.

Norms are L2 norms in float64 of float32 accumulations; the norm of several tensors is that of all their elements, as
`torch.nn.utils.clip_grad_norm_` computes it. Losses are in the unit of the loss, of classes in nats. `None` means "not
measured", never "zero".
"""

from __future__ import annotations

from collections.abc import Mapping

from modellint.core.diagnostic import Location
from modellint.core.record import dataclass, field

from .quantities import Batch, Features, Logits, Pair, Times, Transcripts


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
