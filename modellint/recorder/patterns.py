"""Layers written out as arithmetic: norms, softmax and attention that no torch function names."""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Optional, Set, Tuple

from torch.fx import Node

from .roles import NORMALISING, STATISTICS

_NORM_CLASS = re.compile(r"Norm(?!al)|norm$|_norm")
_HEAVY = frozenset(("linear", "conv", "attention", "recurrent", "embedding", "loss"))
_TRANSPARENT = frozenset(("reshape", "mask", "dropout", "index", "detach"))
_POINTWISE = frozenset(("activation", "add", "mul", "reshape"))
_INVERSE = frozenset(("rsqrt", "reciprocal", "pow"))
_LARGEST = 24  # operations that one layer is written out with
_FAR = 8  # operations between a statistic and its use: square root, epsilon, clamp, casts and views


def operation(node: Node) -> str:
    return str(node.meta.get("operation", ""))


def norm_modules(nodes: List[Node]) -> Dict[Node, Node]:
    """Each operation inside a module that is a norm, by its name and by what it does, to the one with the result."""
    regions: Dict[int, List[Node]] = {}
    for node in nodes:
        for call, name in node.meta["calls"]:
            if node.meta["space"] == "activation" and _NORM_CLASS.search(name):
                regions.setdefault(call, []).append(node)
    merged: Dict[Node, Node] = {}
    for region in sorted(filter(_normalises, regions.values()), key=len, reverse=True):
        results = [node for node in region if any(user not in region for user in node.users)]
        if len(results) == 1 and region[0] not in merged:
            results[0].meta["role"] = "norm"
            merged.update(dict.fromkeys(region, results[0]))
    return merged


def closed(last: Node, base: Node) -> List[Node]:
    """The operations that make `last` of `base`; empty where they read anything else, or are read elsewhere."""
    region = [last]
    for node in region:
        reads = [each for each in node.all_input_nodes if each.meta["space"] == "activation" and each is not base]
        if len(region) > _LARGEST or any(each.meta["role"] in _HEAVY for each in reads):
            return []
        region.extend(each for each in reads if each not in region)
    return [] if any(user not in region for node in region[1:] for user in node.users) else region


def written_out(node: Node, role: str) -> Optional[str]:
    """The role of what ends a written-out norm or softmax: a quotient of a value and a statistic of that value."""
    for value, scale in _quotients(node) if role == "mul" else ():
        statistic = _statistic(scale)
        if statistic is None:
            continue
        measured = statistic.all_input_nodes[0]
        if (
            operation(statistic) == "sum"
            and operation(_through(value)) == "exp"
            and _through(measured) is _through(value)
        ):
            return "softmax"
        common = _elementwise(value) & _elementwise(measured)
        if common:
            node.meta["base"] = max(common, key=lambda each: int(each.meta["order"]))
            return "norm"
    return None


def over_batch(region: List[Node]) -> bool:
    """Whether a norm that is written out takes its statistics over the first axis, and not over all."""
    statistics = (found for node in region for _, scale in _quotients(node) if (found := _statistic(scale)) is not None)
    dims = [each.kwargs.get("dim", each.args[1] if len(each.args) > 1 else None) for each in statistics]
    return any(dim == 0 or (isinstance(dim, (tuple, list)) and 0 in dim) for dim in dims)


def summed(node: Node) -> Optional[Node]:
    """The sum that a softmax written out divides by."""
    return next((found for _, scale in _quotients(node) if (found := _statistic(scale)) is not None), None)


def mixes_by_softmax(product: Node) -> bool:
    """Whether a factor is a softmax, perhaps times a number: attention written out."""
    return mixing(product) is not None


def mixing(product: Node) -> Optional[Node]:
    """The factor that is a softmax."""
    return next((node for node in product.all_input_nodes if _unscaled(node).meta["role"] == "softmax"), None)


def _normalises(region: List[Node]) -> bool:
    roles = {node.meta["role"] for node in region}
    works = "norm" in roles or any(operation(node) in NORMALISING for node in region)
    return works and not roles & _HEAVY


def _quotients(node: Node) -> Iterator[Tuple[Node, Node]]:
    """(value, scale) where the node divides value by scale, or multiplies it by an inverse."""
    if len(node.all_input_nodes) != 2:
        return
    first, second = node.all_input_nodes
    if "div" in operation(node):
        yield (second, first) if operation(node) in ("rdiv", "rtruediv") else (first, second)
    else:
        yield from ((v, s) for v, s in ((first, second), (second, first)) if operation(_through(s)) in _INVERSE)


def _statistic(scale: Node) -> Optional[Node]:
    """The reduction behind `sqrt(variance + eps)` and its kin."""
    for _ in range(_FAR):
        if not scale.all_input_nodes or operation(scale) in STATISTICS:
            return scale if scale.all_input_nodes else None
        if scale.meta["role"] not in _POINTWISE and scale.meta["role"] != "index":
            return None
        scale = scale.all_input_nodes[0]
    return None


def _elementwise(node: Node) -> Set[Node]:
    """The node and what it is a pointwise function of, as far as that depends on weights."""
    found, frontier = {node}, [node]
    for _ in range(_FAR // 2):
        frontier = [
            s for each in frontier if each.meta["role"] in _POINTWISE for s in each.all_input_nodes if s not in found
        ]
        found.update(frontier)
    return {each for each in found if each.meta["space"] == "activation"}


def _unscaled(node: Node) -> Node:
    node = _through(node)
    while node.meta["role"] == "mul" and len(node.all_input_nodes) == 1:
        node = _through(node.all_input_nodes[0])
    return node


def _through(node: Node) -> Node:
    while node.meta["role"] in _TRANSPARENT and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node
