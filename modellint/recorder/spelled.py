"""Activations and dropout that are spelled out as arithmetic, or by a function of more than one use."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional

from torch.fx import Node

from .patterns import operation

_POSITIVE = frozenset(("gt", "ge", "greater", "greater_equal"))
_COMPARED = _POSITIVE | frozenset(("lt", "le", "less", "less_equal"))
_RANDOM = frozenset(("rand", "rand_like"))
_CASTS = frozenset(("float", "to", "type", "type_as", "half", "bfloat16", "double", "detach"))
_INVERSE = frozenset(("rdiv", "rtruediv", "reciprocal"))


class Spelled(NamedTuple):
    role: str
    operation: str
    base: Node  # what it is a function of


def spelled(node: Node) -> Optional[Spelled]:
    return _softmax(node) or _relu(node) or _sigmoid(node) or _tanh(node) or _dropout(node)


def _softmax(node: Node) -> Optional[Spelled]:
    """`exp(log_softmax(x))`."""
    reads = node.all_input_nodes
    logarithm = operation(node) == "exp" and reads and operation(reads[0]) == "log_softmax"
    return Spelled("softmax", "exp", reads[0]) if logarithm else None


def _relu(node: Node) -> Optional[Spelled]:
    """`x * (x > 0)`, `where(x > 0, x, 0)`, `maximum(x, 0)`, `threshold(x, 0, 0)`."""
    kind, args, reads = operation(node), list(node.args), node.all_input_nodes
    found: List[Any] = []
    if kind == "mul" and len(reads) == 2:
        found = [value for value, mask in (reads, reads[::-1]) if _is_positive(_uncast(mask), value)]
    elif kind == "where" and len(args) == 3 and _is_positive(args[0], args[1]) and _is_zero(args[2]):
        found = [args[1]]
    elif (kind in ("maximum", "max") and any(map(_is_zero, args[1:2]))) or (kind == "threshold" and args[1:] == [0, 0]):
        found = reads[:1]
    return Spelled("activation", "relu", found[0]) if found else None


def _sigmoid(node: Node) -> Optional[Spelled]:
    """`1 / (1 + exp(-x))`."""
    total = node.all_input_nodes[0] if operation(node) in _INVERSE and node.all_input_nodes else None
    if (
        total is None
        or operation(total) not in ("add", "radd")
        or 1 not in _numbers(node, 1)
        or 1 not in _numbers(total)
    ):
        return None
    power = total.all_input_nodes[0]
    base = _argument(power) if operation(power) == "exp" else None
    return Spelled("activation", "sigmoid", base) if base is not None else None


def _tanh(node: Node) -> Optional[Spelled]:
    """`(exp(x) - exp(-x)) / (exp(x) + exp(-x))`, or the same times `exp(x)`."""
    parts = node.all_input_nodes if "div" in operation(node) else []
    if [operation(part) for part in parts] != ["sub", "add"]:
        return None
    powers = [power for part in parts for power in part.all_input_nodes]
    bases = {_argument(power) if operation(power) == "exp" else None for power in powers}
    base = bases.pop() if len(bases) == 1 else None
    return Spelled("activation", "tanh", base) if base is not None else None


def _dropout(node: Node) -> Optional[Spelled]:
    """`x * (rand > p)`, `x * bernoulli`, perhaps scaled; not where one number is drawn for a whole sample."""
    reads = node.all_input_nodes if node.meta["role"] == "mul" else []
    found = [each for each in reads if len(reads) == 2 and not _drops(each)]
    return Spelled("dropout", "dropout", found[0]) if len(found) == 1 else None


def _drops(mask: Node) -> bool:
    whole = mask.meta["shape"]
    while mask.all_input_nodes and (operation(mask) in _CASTS or mask.meta["role"] == "mul"):
        mask = mask.all_input_nodes[0]
    chances = mask.all_input_nodes if operation(mask) in _COMPARED else []
    drawn = operation(mask) == "bernoulli" or any(operation(each) in _RANDOM for each in chances)
    return drawn and any(size > 1 for size in whole[1:])


def _is_positive(mask: Any, value: Any) -> bool:
    """Whether `mask` is `value > 0`."""
    compares = isinstance(mask, Node) and operation(mask) in _POSITIVE
    return compares and mask.all_input_nodes == [value] and _numbers(mask) == [0]


def _is_zero(value: Any) -> bool:
    """The number, or a tensor that was made of zeros."""
    if isinstance(value, Node):
        return operation(value) in ("zeros", "zeros_like", "new_zeros")
    return isinstance(value, (int, float)) and value == 0


def _argument(power: Node) -> Node:
    """x of `exp(x)`, `exp(-x)` and `exp(2 * x)`."""
    base = power.all_input_nodes[0]
    scaled = operation(base) in ("neg", "mul", "rmul") and len(base.all_input_nodes) == 1
    return base.all_input_nodes[0] if scaled else base


def _uncast(node: Node) -> Node:
    while operation(node) in _CASTS and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


def _numbers(node: Node, *otherwise: float) -> List[float]:
    """The numbers among the arguments; `otherwise` where there are none."""
    given = (*node.args, *node.kwargs.values())
    return [value for value in given if isinstance(value, (int, float))] or list(otherwise)
