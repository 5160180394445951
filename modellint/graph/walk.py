"""Questions about paths: what feeds the loss, and what lies between two layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .graph import Graph
from .node import LAYERS, Node, Role

Reads = Callable[[Graph, Node], Iterable[Node]]


def walk_back(
    graph: Graph, start: Node, through: Callable[[Node], bool], reads: Reads = Graph.inputs
) -> Iterator[Node]:
    """What feeds `start`, nearest first, each node once; the walk goes on behind the nodes that `through` accepts."""
    seen, waiting = {start.name}, [start]
    for node in waiting:
        for source in reads(graph, node):
            if source.name not in seen:
                seen.add(source.name)
                yield source
                if through(source):
                    waiting.append(source)


def readouts(graph: Graph) -> tuple[Node, ...]:
    """The layers that feed the loss: the first ones on the way back from it, on every path that learns.

    A layer that the loss reads and that also feeds another readout, as a latent code does, is a hidden layer.
    """
    output = graph[graph.output]
    behind = walk_back(graph, output, lambda node: learns(node) and node.role not in LAYERS, carriers)
    found = [node for node in behind if node.role in LAYERS and learns(node)]
    hidden: set[str] = set()
    for node in found:
        hidden |= {source.name for source in walk_back(graph, node, _not_in(hidden))}
    return tuple(node for node in found if node.name not in hidden)


def learned_parameters(graph: Graph) -> frozenset[str]:
    """The parameters that the loss reaches with a gradient."""
    nodes = [graph[graph.output], *walk_back(graph, graph[graph.output], learns)]
    return frozenset(name for node in nodes if learns(node) for name in node.parameters)


def learns(node: Node) -> bool:
    return node.gradient and node.role is not Role.DETACH


def path(graph: Graph, start: Node, end: Node) -> tuple[Node, ...]:
    """The shortest way back from `start` to `end`, both included; empty if there is none."""
    came: dict[str, Node] = {}
    waiting = [start]
    for node in waiting:
        for source in carriers(graph, node):
            if source.name not in came and source is not start:
                came[source.name] = node
                waiting.append(source)
    way = [end]
    while way[-1] is not start and way[-1].name in came:
        way.append(came[way[-1].name])
    return tuple(reversed(way)) if way[-1] is start else ()


def carriers(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The inputs whose scale carries over: of attention the values, which it averages; of anything else, all."""
    inputs = graph.inputs(node)
    if node.role is not Role.ATTENTION or len(inputs) < 2:
        return inputs
    if node.operation == "scaled_dot_product_attention":  # query, key, value, each once, and perhaps a mask
        return tuple(source for source in inputs[:3] if source.gradient)[-1:] or inputs[:1]
    return inputs[1:]  # softmax times values


def _not_in(names: set[str]) -> Callable[[Node], bool]:
    known = frozenset(names)
    return lambda node: node.name not in known


def judges_classes(graph: Graph) -> bool:
    """Whether a loss over classes turns the size of the scores into confidence."""
    return any("cross_entropy" in node.operation or "nll" in node.operation for node in graph.of_role(Role.LOSS))
