"""What a model's output is when it enters a loss: raw scores, probabilities, or logarithms of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from modellint.core.diagnostic import Location
from modellint.core.pattern import pattern

from .facts import Operation

# Operations that only arrange the values that they are given.
KEEPS = frozenset(
    "view reshape flatten squeeze unsqueeze permute transpose contiguous float double half to cuda cpu clone type t "
    "movedim Flatten Identity Unflatten rearrange".split()
)
SCORES = pattern(r"torch\.nn\.((Lazy)?(Linear|Conv\w+|Bilinear)|functional\.(linear|conv\w+|bilinear))")
KINDS = {
    "softmax": "softmax", "Softmax": "softmax", "Softmax2d": "softmax",
    "log_softmax": "log-softmax", "LogSoftmax": "log-softmax", "logsigmoid": "log-sigmoid", "LogSigmoid": "log-sigmoid",
    "sigmoid": "sigmoid", "sigmoid_": "sigmoid", "Sigmoid": "sigmoid", "expit": "sigmoid",
}  # fmt: skip


def head(path: Iterable[Operation]) -> Operation | None:
    """The last operation on the way that does more than arrange its values."""
    return next((operation for operation in path if operation.short not in KEEPS), None)


def kind(operation: Operation | None) -> str:
    """ "scores" (of a layer with weights), "softmax", "log-softmax", "sigmoid", "log-sigmoid", or "" for all else."""
    if operation is None:
        return ""
    return "scores" if SCORES.fullmatch(operation.name) else KINDS.get(operation.short, "")


def is_single(operation: Operation | None) -> bool:
    """Whether it is a layer of one output."""
    if operation is None or operation.name != "torch.nn.Linear" or operation.call is None:
        return False
    given = operation.call.argument(1, "out_features")
    return given is not None and given.kind == "constant" and given.constant == 1 and operation.certain


def ending(
    paths: Sequence[Sequence[Operation]], kinds: Collection[str], fitting: Collection[str] = ()
) -> tuple[Operation, bool] | None:
    """The first head that is of one of the kinds, and whether it is so for certain: on every path.

    None if one path ends in what is `fitting`: an option of the model decides.
    """
    heads = [head(path) for path in paths]
    if any(kind(operation) in fitting for operation in heads):
        return None
    found = next((operation for operation in heads if operation is not None and kind(operation) in kinds), None)
    sure = found is not None and found.certain and all(kind(other) in kinds for other in heads)
    return (found, sure) if found is not None else None


def written(operation: Operation, beside: Location) -> str:
    """The operation and where it is applied, as a message about another place says it."""
    return f"`{operation.short}` of {place(operation.location, beside)}"


def place(location: Location, beside: Location) -> str:
    return f"line {location.line}" if location.path == beside.path else str(location)
