"""Axes of tensors, counted from the end: which one a softmax normalises, where it goes, which one a product sums over."""

from __future__ import annotations

from .graph import Graph
from .node import Node, Role

_NAMED = frozenset({"softmax", "log_softmax", "softmin", "gumbel_softmax"})
_SWAPS_LAST = frozenset({"mT", "mH", "adjoint"})


def softmax_axis(node: Node) -> int | None:
    size, dim = len(node.shape), node.dim
    if dim is None and node.operation in _NAMED and size:
        dim = 0 if size in (0, 1, 3) else 1  # what torch takes when none is given
    return None if dim is None or not size else dim % size - size


def moved(graph: Graph, node: Node, axis: int | None) -> int | None:
    """Where `axis` of what `node` reads lies in what it gives; None where that cannot be told."""
    if axis is None or node.role is not Role.RESHAPE:
        return axis
    given = next(iter(graph.inputs(node)), None)
    if given is None or not given.shape:
        return None
    if node.operation in _SWAPS_LAST:
        return {-1: -2, -2: -1}.get(axis, axis)
    if node.operation in ("transpose", "swapaxes"):
        return _swapped(node, axis, len(given.shape))
    same = node.operation in ("contiguous", "clone", "to", "float", "half", "type_as")
    return axis if same or node.shape[axis - 1 :] == given.shape[axis - 1 :] else None


def contracted(product: Node) -> int | None:
    """The axis of the weights over which a product with values sums; None where that cannot be told."""
    if product.operation == "einsum":
        return _summed_letter(str(product.settings.get("args", "")))
    side = product.settings.get("mixes")
    return None if side is None else -1 if side == 0 else -2


def _swapped(node: Node, axis: int, size: int) -> int | None:
    pair = [node.settings.get(name) for name in ("dim0", "dim1")]
    if not all(isinstance(dim, int) for dim in pair):
        return None
    first, second = (int(dim) % size - size for dim in pair if dim is not None)
    return {first: second, second: first}.get(axis, axis)


def _summed_letter(equation: str) -> int | None:
    inputs, _, result = equation.replace(" ", "").partition("->")
    weights, _, values = inputs.partition(",")
    summed = [letter for letter in weights if letter in values and letter not in result]
    return weights.index(summed[0]) - len(weights) if len(summed) == 1 and "." not in equation else None
