"""How nodes and ways between them are called in messages."""

from __future__ import annotations

from collections.abc import Iterable

from .node import LAYERS, Node


def name(node: Node) -> str:
    """The module's path where a layer has one, else its weight, else the operation."""
    return node.location.module or next(iter(node.parameters), node.operation)


def label(node: Node) -> str:
    return name(node) if node.role in LAYERS else node.operation


def trail(nodes: Iterable[Node]) -> str:
    """A way in the order of execution, given from its end: "fc1 → relu → fc2"."""
    return " → ".join(dict.fromkeys(label(node) for node in reversed(tuple(nodes))))
