"""A single stream: what one node reads, what that reads, and so on, as long as nothing else joins."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .graph import Graph
from .node import Node, Role

# Views that keep the order of the elements, casts, and copies.
_SAME = frozenset(
    "view view_as reshape reshape_as flatten unflatten ravel squeeze unsqueeze contiguous clone alias to float half "
    "double bfloat16 type type_as cuda cpu".split()
)


def keeps_order(node: Node) -> bool:
    """Whether the same numbers come out in the same order."""
    return node.role is Role.RESHAPE and node.operation in _SAME


def drops(node: Node) -> bool:
    """Whether it is a dropout at work."""
    active = node.settings.get("training", node.settings.get("train", True)) is not False
    return node.role is Role.DROPOUT and active and node.settings.get("p", 0.5) > 0


def source(graph: Graph, node: Node) -> Node | None:
    """The only thing that `node` reads besides constants and weights."""
    carried = [each for each in graph.inputs(node) if each.role is not Role.CONSTANT]
    return carried[0] if len(carried) == 1 else None


def upstream(graph: Graph, node: Node, through: Callable[[Node], bool]) -> Iterator[Node]:
    """What feeds `node` alone, nearest first, up to and with the first that `through` does not accept."""
    found = source(graph, node)
    while found is not None:
        yield found
        found = source(graph, found) if through(found) else None


def end(graph: Graph, node: Node, through: Callable[[Node], bool]) -> tuple[Node, ...]:
    """The same way as a whole; empty where something joins it before its end."""
    way = tuple(upstream(graph, node, through))
    return way if way and not through(way[-1]) else ()
