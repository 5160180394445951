"""A pass over the recorded torch.fx.Graph to the plain graph: nodes with a role, their inputs and their places."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional

from torch.fx import Graph, Node

from . import patterns, weights
from .roles import BOUNDED, LAYERS, role_of
from .settings import settings
from .spelled import spelled
from .weights import unique

LARGEST = 20_000  # nodes kept, those nearest the loss first: an unrolled recurrence can be longer than any reader needs
# What a value depends on: the weights alone, nothing, the data alone, or weights and data.
WEIGHT, CONSTANT, DATA, ACTIVATION = "weight", "constant", "data", "activation"


def lower(graph: Graph) -> Dict[str, Any]:
    """The plain graph, JSON-able: {"nodes": [...], "output": name}."""
    *nodes, end = graph.nodes
    for order, node in enumerate(nodes):
        node.meta.update(order=order, space=_space(node))
        node.meta["role"] = _role(node)
        found = spelled(node)
        if found is not None:
            node.meta.update(found._asdict())
    (output,) = end.all_input_nodes
    output.meta["space"] = ACTIVATION
    merged = _merged(nodes)
    plain = {node["name"]: node for node in _emit(nodes, merged)}
    name = merged.get(output, output).name
    return {"nodes": list(_nearest(plain, name)), "output": name}


def _merged(nodes: List[Node]) -> Dict[Node, Node]:
    """Each operation of a layer that is written out to the last one, which stands for the layer."""
    merged = patterns.norm_modules(nodes)
    for node in nodes:
        region = patterns.closed(node, node.meta["base"]) if "base" in node.meta else []
        if len(region) > 1 and not any(each in merged for each in region):
            merged.update(dict.fromkeys(region, node))
    return merged


def _space(node: Node) -> str:
    spaces = {source.meta["space"] for source in node.all_input_nodes}
    if node.op == "get_attr":
        return WEIGHT if node.meta["parameter"] else CONSTANT
    if node.op == "placeholder":
        return DATA
    layer = patterns.operation(node) in LAYERS  # a learned token or a position that goes through a layer
    if ACTIVATION in spaces or (WEIGHT in spaces and (DATA in spaces or layer)):
        return ACTIVATION
    if WEIGHT in spaces:
        return WEIGHT
    return DATA if DATA in spaces or not (spaces or node.meta["calls"]) else CONSTANT


def _role(node: Node) -> str:
    if node.op == "placeholder":
        return "input"
    role = role_of(patterns.operation(node))
    sources = node.all_input_nodes
    if role == "product":
        weighted = any(source.meta["space"] == WEIGHT for source in sources)
        return "linear" if weighted else "attention" if patterns.mixes_by_softmax(node) else "mul"
    if role == "index" and sources and sources[0].meta["space"] == WEIGHT:
        return "embedding"
    return patterns.written_out(node, role) or role


def _emit(nodes: List[Node], merged: Dict[Node, Node]) -> Iterator[Dict[str, Any]]:
    regions: Dict[Node, List[Node]] = {}
    for node, last in merged.items():
        regions.setdefault(last, []).append(node)
    for node in nodes:
        space = node.meta["space"]
        if space == ACTIVATION and merged.get(node, node) is node:
            yield _plain(node, regions.get(node, [node]), merged)
        elif space in (DATA, CONSTANT) and any(user.meta.get("space") == ACTIVATION for user in node.users):
            role = "input" if space == DATA else "constant"
            yield {
                **_plain(node, [], merged),
                "role": role,
                "std": max(_spreads(node), default=None),
            }


def _spreads(node: Node) -> Iterator[float]:
    """The standard deviations of what the values of a node come from, as they are."""
    found = _number(node.meta["measured"].get("std"))
    if found is not None:
        yield found
    elif node.meta["role"] in ("reshape", "index", "concat"):
        for source in _sources(node) if node.meta["role"] == "concat" else _sources(node)[:1]:
            yield from _spreads(source)


def _plain(node: Node, region: List[Node], merged: Dict[Node, Node]) -> Dict[str, Any]:
    role = node.meta["role"]
    sources = [source for member in region for source in _sources(member) if source not in region]
    held = [each for each in sources if each.meta["space"] == WEIGHT]
    path, line = node.meta.get("line") or (None, None)
    return {
        "name": node.name,
        "role": role,
        "operation": patterns.operation(node),
        "inputs": unique(merged.get(each, each).name for each in sources if _is_value(each)),
        "parameters": unique(name for each in held for name in weights.parameters(each)),
        "factors": [factors for each in held for factors in weights.products(each)],
        "shape": list(node.meta["shape"]),
        "dtype": node.meta["dtype"].replace("torch.", ""),
        "bounded": _bounded(node, role),
        "gradient": bool(node.meta["grad"]),
        "dim": _dimension(node) if "softmax" in role or role == "reduce" else None,
        "settings": _settings(node, region) if node.op != "placeholder" else {},
        **{name: _number(value) for name, value in node.meta["measured"].items()},
        "foreign": node.meta["foreign"],
        "module_class": node.meta["module_class"],
        "location": {"path": path, "line": line, "module": node.meta["module"] or None},
    }


def _settings(node: Node, region: List[Node]) -> Dict[str, Any]:
    """Those of a norm, whatever else its module does; of one that is written out, whether it is over the batch."""
    norm = node.meta["role"] == "norm"
    named = next((each for each in region if norm and role_of(patterns.operation(each)) == "norm"), node)
    return {**settings(named), "training": True} if norm and patterns.over_batch(region) else settings(named)


def _sources(node: Node) -> List[Node]:
    """What a node reads: a loss its prediction first, attention its weights, however the arguments were spelled."""
    first = patterns.mixing(node) if node.meta["role"] == "attention" else node.kwargs.get("input")
    return sorted(node.all_input_nodes, key=lambda source: source is not first)


def _is_value(node: Node) -> bool:
    return node.meta["space"] != WEIGHT and node.op != "get_attr"


def _bounded(node: Node, role: str) -> bool:
    operation = patterns.operation(node)
    if operation in ("clamp", "clip"):
        limits = [*node.args[1:], node.kwargs.get("min"), node.kwargs.get("max")]
        return sum(limit is not None for limit in limits) == 2
    return role in ("softmax", "norm") or operation in BOUNDED


def _dimension(node: Node) -> Optional[int]:
    node = patterns.summed(node) or node  # a softmax written out
    node = node.all_input_nodes[0] if patterns.operation(node) == "exp" else node
    found = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    return found if isinstance(found, int) else None


def _number(value: Any) -> Optional[float]:
    try:
        return None if value is None else float(value)
    except RuntimeError:  # tensors without data
        return None


def _nearest(plain: Dict[str, Dict[str, Any]], output: str) -> Iterator[Dict[str, Any]]:
    """The nodes to keep, in their order; edges to what is cut off are cut too."""
    kept, frontier = {output}, [output]
    while frontier and len(kept) < LARGEST:
        frontier = unique(name for each in frontier for name in plain[each]["inputs"] if name not in kept)
        kept.update(frontier)
    for name, node in plain.items():
        if name in kept:
            yield {**node, "inputs": [source for source in node["inputs"] if source in kept]}
