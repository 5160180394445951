"""Layers written out as arithmetic: norms, softmax and attention that no torch function names."""

import re
from typing import Dict, Iterator, List, Optional, Set

from torch.fx import Node

from .roles import NORMALISING

_NORM_CLASS = re.compile(r"Norm(?!al)|norm$|_norm")
_HEAVY = {"linear", "conv", "attention", "recurrent", "embedding", "loss"}
_TRANSPARENT = {"reshape", "mask", "dropout", "index", "detach"}
_STATISTICS = {
    "mean",
    "sum",
    "var",
    "std",
    "norm",
    "vector_norm",
    "linalg_norm",
    "amax",
    "max",
    "var_mean",
    "std_mean",
    "logsumexp",
}
_INVERSE = {"rsqrt", "reciprocal", "pow"}


def norm_modules(nodes: List[Node]) -> Dict[Node, Node]:
    """Each operation inside a module that is a norm, by its class name and by what it does, to the one that gives its result."""
    regions: Dict[int, List[Node]] = {}
    for node in nodes:
        for call, name in node.meta.get("calls", ()):
            if node.meta["space"] == "activation" and _NORM_CLASS.search(name):
                regions.setdefault(call, []).append(node)
    groups: Dict[Node, Node] = {}
    for region in sorted(filter(_is_norm, regions.values()), key=len, reverse=True):
        results = [node for node in region if any(user not in region for user in node.users)]
        if len(results) == 1 and len(region) > 1 and region[0] not in groups:
            groups.update(dict.fromkeys(region, results[0]))
    return groups


def _is_norm(region: List[Node]) -> bool:
    roles = {node.meta["role"] for node in region}
    works = "norm" in roles or any(node.meta.get("operation") in NORMALISING for node in region)
    return works and not roles & _HEAVY


def written_out(node: Node, role: str) -> Optional[str]:
    """The role of an operation that ends a written-out norm or softmax."""
    if role != "mul":
        return None
    for top, scale in _quotients(node):
        statistic = _statistic(scale)
        measured = statistic.all_input_nodes[:1] if statistic is not None else []
        if measured and _operation(statistic) == "sum" and _operation(_through(top)) == "exp" and measured[0] is top:
            return "softmax"
        if statistic is not None and measured and _elementwise(top) & _elementwise(measured[0]):
            return "norm"
    return None


def mixes_by_softmax(node: Node) -> bool:
    """Whether the first factor of a product is a softmax: attention written out."""
    return bool(node.all_input_nodes) and _through(node.all_input_nodes[0]).meta.get("role") == "softmax"


def _quotients(node: Node) -> Iterator[List[Node]]:
    """(value, scale) where the node divides value by scale, or multiplies it by an inverse."""
    sources = list(node.all_input_nodes)
    if len(sources) != 2:
        return
    if "div" in _operation(node):
        yield sources if _operation(node) != "rtruediv" else sources[::-1]
    else:
        yield from ([top, scale] for top, scale in (sources, sources[::-1]) if _operation(_through(scale)) in _INVERSE)


def _statistic(scale: Node) -> Optional[Node]:
    """The reduction behind `sqrt(var + eps)` and its kin."""
    for _ in range(8):
        if _operation(scale) in _STATISTICS:
            return scale
        if scale.meta.get("role") not in ("activation", "add", "reshape", "mul", "index") or not scale.all_input_nodes:
            return None
        scale = scale.all_input_nodes[0]
    return None


def _elementwise(node: Node, steps: int = 4) -> Set[Node]:
    """The node and what it is an elementwise function of, a few steps back, without what depends on no weight."""
    found, frontier = {node}, [node]
    for _ in range(steps):
        frontier = [
            source
            for each in frontier
            if each.meta.get("role") in ("activation", "add", "mul", "reshape")
            for source in each.all_input_nodes
        ]
        found.update(frontier)
    return {each for each in found if each.meta["space"] == "activation"}


def _through(node: Node) -> Node:
    while node.meta.get("role") in _TRANSPARENT and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


def _operation(node: Node) -> str:
    return str(node.meta.get("operation", ""))
