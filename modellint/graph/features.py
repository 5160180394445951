"""What enters a readout: everything behind it whose scale still shows in the features."""

from __future__ import annotations

from .graph import Graph
from .node import LAYERS, Node, Role
from .walk import carriers, walk_back

HIDDEN = (Role.LINEAR, Role.CONV)
_CLOSED = frozenset({*LAYERS, Role.INPUT, Role.CONSTANT, Role.NORM, Role.OTHER})


def feeding(graph: Graph, readout: Node) -> list[Node]:
    """Nearest first; the way ends at the next layers, at norms, and at what is bounded, each of them included."""
    return list(walk_back(graph, readout, carries, carriers))


def carries(node: Node) -> bool:
    """Whether the scale of what goes in comes out."""
    return node.role not in _CLOSED and not node.bounded
