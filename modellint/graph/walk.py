"""Questions about paths: what feeds the loss, and what lies between two layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .graph import Graph
from .node import LAYERS, Node, Role


def walk_back(graph: Graph, start: Node, through: Callable[[Node], bool]) -> Iterator[Node]:
    """Every node that feeds `start`, nearest first, each once; the walk goes on behind those that `through` accepts."""
    seen, waiting = {start.name}, [start]
    while waiting:
        for node in carriers(graph, waiting.pop(0)):
            if node.name not in seen:
                seen.add(node.name)
                yield node
                if through(node):
                    waiting.append(node)


def readouts(graph: Graph) -> tuple[Node, ...]:
    """The layers that feed the loss: the first ones met on the way back from it, on every path that learns."""
    output = graph[graph.output]
    inside = walk_back(
        graph, output, lambda node: node.gradient and node.role not in LAYERS and node.role != Role.DETACH
    )
    return tuple(node for node in inside if node.role in LAYERS and node.gradient)


def carriers(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The inputs whose scale carries over: of attention the values, which it averages; of all else, all."""
    inputs = graph.inputs(node)
    if node.role == Role.ATTENTION and node.operation == "scaled_dot_product_attention":
        return tuple(each for each in inputs[:3] if each.gradient)[-1:] or inputs[:1]
    return inputs
