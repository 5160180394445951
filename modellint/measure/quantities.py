"""What enters a step: statistics of features, scores, targets and inputs, as plain data."""

from __future__ import annotations

from modellint.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Distribution:
    """Elementwise statistics of one tensor; `std` is that of the elements themselves (divided by n, not n - 1)."""

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
    # effective rank exp(H(p)), p = normalised singular values of the centred matrix (Roy and Vetterli, 2007); at most width
    rank: float | None = None
    distance_min: float | None = None  # smallest and largest Euclidean distance between two samples of the batch
    distance_max: float | None = None


@dataclass(frozen=True, slots=True)
class Logits:
    """What enters the class loss, as a matrix of `rows` by `classes`: axes of places, such as pixels, are rows too."""

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
    kurtosis: float | None = None  # of the targets: E[(t - mean)^4] / var^2, 3 for a normal distribution


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
    shaped: bool = False  # the target of the loss has the shape of what the model was given with them
    echoes: bool = False  # the target of the loss is what the model was given with them
