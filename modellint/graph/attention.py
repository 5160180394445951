"""Attention that is written out: scores of queries and keys, a softmax, a product with the values."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.record import dataclass

from .graph import Graph
from .node import Node, Role
from .stream import keeps_order

_PRODUCTS = frozenset({"matmul", "rmatmul", "bmm", "baddbmm", "einsum"})
_OPEN = (Role.RESHAPE, Role.MASK, Role.DROPOUT, Role.INDEX, Role.ADD, Role.CONCAT)


@dataclass(frozen=True)
class Attention:
    """`way` leads from the product with the values back to the scores."""

    values: Node
    softmax: Node
    scores: Node
    way: tuple[Node, ...]
    scaled: bool
    head_size: int


def attentions(graph: Graph) -> Iterator[Attention]:
    for node in graph.of_role(Role.ATTENTION):
        if node.operation in _PRODUCTS and node.inputs:
            weights = _back(graph, node, (Role.DROPOUT, Role.RESHAPE, Role.INDEX, Role.MASK, Role.MUL))
            softmax = weights[-1]
            scores = _back(graph, softmax, (*_OPEN, Role.MUL)) if softmax.role is Role.SOFTMAX else ()
            if scores and _is_product(graph, scores[-1]):
                yield _attention(graph, node, weights, scores)


def is_scale(node: Node) -> bool:
    """A product with a number, a weight or a constant, whatever its value: someone has thought of the scale."""
    return node.role is Role.MUL and node.operation not in _PRODUCTS


def _attention(graph: Graph, node: Node, weights: tuple[Node, ...], scores: tuple[Node, ...]) -> Attention:
    operands = [way for side in graph.inputs(scores[-1])[:2] for way in [(side, *_operand(graph, side))]]
    known = any(is_scale(each) for each in scores[:-1]) or "alpha" in scores[-1].settings
    held = any(is_scale(each) or each.role is Role.NORM or each.bounded for way in operands for each in way)
    size = next((each.shape[-1] for way in operands for each in way[:1] if each.shape), 0)
    return Attention(node, weights[-1], scores[-1], (node, *weights, *scores), known or held, size)


def _is_product(graph: Graph, node: Node) -> bool:
    return node.role is Role.MUL and node.operation in _PRODUCTS and len(node.inputs) >= 1


def _back(graph: Graph, node: Node, through: tuple[Role, ...]) -> tuple[Node, ...]:
    """Along the first inputs that learn, through nodes of these roles, to the first other one."""
    way: list[Node] = []
    while True:
        node = next((each for each in graph.inputs(node) if each.gradient), node)
        if way and node is way[-1]:
            return tuple(way)
        way.append(node)
        if (node.role not in through and node.operation != "exp") or node.operation in _PRODUCTS:
            return tuple(way)


def _operand(graph: Graph, node: Node) -> Iterator[Node]:
    """What made a query or a key, as far as its scale is kept."""
    waiting, seen = [node], {node.name}
    for each in waiting:
        if each.role in (*_OPEN, Role.MUL) or keeps_order(each):
            for source in graph.inputs(each):
                if source.name not in seen:
                    seen.add(source.name)
                    waiting.append(source)
                    yield source
