"""What lets features grow on their way into a layer, beyond what a single layer can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .graph import Graph
from .node import LAYERS, Node, Role
from .walk import walk_back

_SUMS = frozenset({"sum", "nansum", "cumsum"})
_POWERS = frozenset({"exp", "exp2", "expm1", "pow", "square", "sinh", "cosh"})


def residual_additions(graph: Graph, between: Iterable[Node]) -> list[Node]:
    """Sums of two streams, neither of which a learned factor scales."""
    return [node for node in between if node.role is Role.ADD and _unscaled(graph.inputs(node))]


def amplifiers(graph: Graph, between: Sequence[Node], std: float, uses: int) -> Iterator[str]:
    """In words, what amplifies the nodes `between` a layer and the one it reads, besides residual additions.

    `std` is that of a raw input from which an input is large; `uses` is how often one weight is applied in a chain.
    """
    divides = any("div" in node.operation and len(node.inputs) > 1 for node in between)
    for node in between:
        if node.role is Role.SCATTER or (node.operation in _SUMS and not divides and not _weighs(graph, node)):
            yield f"a sum (`{node.operation}`) whose size grows with its length"
        elif node.operation in _POWERS:
            yield f"`{node.operation}`"
    behind = [node for node in between if node.role in LAYERS]
    if any(_applied(graph, node) >= uses for node in behind):
        yield f"a weight applied {max(_applied(graph, node) for node in behind)} times in a chain"
    for node in _sources(graph, behind):
        if (node.std or 0) > std:
            yield f"an input with a standard deviation of {node.std:.3g}"


def _unscaled(inputs: Sequence[Node]) -> bool:
    streams = [node for node in inputs if node.gradient]
    return len(streams) > 1 and not any(node.role is Role.MUL and node.parameters for node in streams)


def _weighs(graph: Graph, total: Node) -> bool:
    """Whether a sum is a weighted average: its terms are multiplied with a softmax."""
    behind = walk_back(graph, total, lambda node: node.role in (Role.MUL, Role.RESHAPE, Role.DROPOUT, Role.MASK))
    return any(node.role in (Role.SOFTMAX, Role.ATTENTION) for node in behind)


def _applied(graph: Graph, layer: Node) -> int:
    weights = set(layer.parameters)
    chain = walk_back(graph, layer, lambda _: True)
    return 1 + sum(node.role in LAYERS and bool(weights & set(node.parameters)) for node in chain) if weights else 0


def _sources(graph: Graph, layers: Iterable[Node]) -> Iterator[Node]:
    """The inputs of the model that reach the layers with no norm on the way."""
    found = {
        node.name: node for layer in layers for node in walk_back(graph, layer, lambda node: node.role is not Role.NORM)
    }
    return (node for node in found.values() if node.role is Role.INPUT)
