"""Losses of distances, by name or written out as a difference that is made positive: what is compared with what."""

from __future__ import annotations

from .graph import Graph
from .node import Node, Role

NAMED = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss"})
_POSITIVE = frozenset("pow square abs norm vector_norm linalg_norm linalg_vector_norm cosh".split())


def is_distance(graph: Graph, node: Node) -> bool:
    """A loss of distances, or a difference that is squared to one."""
    return node.operation in NAMED or (node.operation == "sub" and _becomes_positive(graph, node))


def _becomes_positive(graph: Graph, difference: Node) -> bool:
    return any(user.operation in _POSITIVE or _is_square(graph, user, difference) for user in graph.users(difference))


def _is_square(graph: Graph, product: Node, difference: Node) -> bool:
    """`e * e`, and the same with the difference written twice."""
    if product.role is not Role.MUL or product.parameters or "other" in product.settings:
        return False
    return all(each.operation == "sub" and each.inputs == difference.inputs for each in graph.inputs(product))
