"""A pass over the recorded torch.fx.Graph that leaves the plain graph: nodes with a role, what feeds them, and where they are written."""

from typing import Any, Dict, Iterator, List, Optional, Tuple

from torch.fx import Graph, Node

from . import patterns
from .roles import BOUNDED, BOUNDED_RECURRENT, role_of

LARGEST = 20_000  # nodes kept, those nearest the loss first: an unrolled recurrence can be longer than any reader needs
# Where a value lives: a function of the weights alone, of nothing, of the data alone, or of weights and data.
WEIGHT, CONSTANT, DATA, ACTIVATION = "weight", "constant", "data", "activation"


def lower(graph: Graph) -> Dict[str, Any]:
    """The plain graph, JSON-able: {"nodes": [...], "output": name}."""
    nodes = [node for node in graph.nodes if node.op != "output"]
    for node in nodes:
        node.meta["space"] = _space(node)
        node.meta["role"] = _role(node)
    groups = patterns.norm_modules(nodes)
    output = graph.output_node().args[0] if hasattr(graph, "output_node") else list(graph.nodes)[-1].args[0]
    plain = {node["name"]: node for node in _emit(nodes, groups)}
    name = groups.get(output, output).name
    return {"nodes": [plain[each] for each in _nearest(plain, name)], "output": name}


def _space(node: Node) -> str:
    spaces = {source.meta["space"] for source in node.all_input_nodes}
    if node.op in ("get_attr", "placeholder"):
        return WEIGHT if node.meta.get("parameter") else CONSTANT if node.op == "get_attr" else DATA
    if ACTIVATION in spaces or (WEIGHT in spaces and (DATA in spaces or role_of(_operation(node)) == "embedding")):
        return ACTIVATION
    if WEIGHT in spaces:
        return WEIGHT
    inside = bool(node.meta.get("calls"))
    return DATA if DATA in spaces or not (spaces or inside) else CONSTANT


def _role(node: Node) -> str:
    if node.op in ("get_attr", "placeholder"):
        return "parameter" if node.meta["space"] == WEIGHT else "input"
    role = role_of(_operation(node))
    weighted = any(source.meta["space"] == WEIGHT for source in node.all_input_nodes)
    if role == "product":
        return "linear" if weighted else "attention" if patterns.mixes_by_softmax(node) else "mul"
    if role == "index" and weighted and node.all_input_nodes[0].meta["space"] == WEIGHT:
        return "embedding"
    return patterns.written_out(node, role) or role


def _operation(node: Node) -> str:
    return str(node.meta.get("operation", ""))


def _emit(nodes: List[Node], groups: Dict[Node, Node]) -> Iterator[Dict[str, Any]]:
    for node in nodes:
        if node.meta["space"] == ACTIVATION and groups.get(node, node) is node:
            members = [member for member, last in groups.items() if last is node] or [node]
            yield _plain(node, members, groups)
        elif node.meta["space"] in (DATA, CONSTANT) and any(
            user.meta.get("space") == ACTIVATION for user in node.users
        ):
            yield {**_plain(node, [], groups), "role": "input" if node.meta["space"] == DATA else "constant"}


def _plain(node: Node, members: List[Node], groups: Dict[Node, Node]) -> Dict[str, Any]:
    role = "norm" if len(members) > 1 else node.meta["role"]
    sources = [source for member in members for source in _sources(member) if source not in members]
    weights = [source for source in sources if source.meta["space"] == WEIGHT]
    path, line = node.meta.get("line") or (None, None)
    return {
        "name": node.name,
        "role": role,
        "operation": _operation(node),
        "inputs": _unique(groups.get(each, each).name for each in sources if each.meta["space"] != WEIGHT),
        "parameters": _unique(name for each in weights for name in _parameters(each)),
        "shape": list(node.meta["shape"]),
        "dtype": node.meta["dtype"].replace("torch.", ""),
        "bounded": _bounded(node, role),
        "gradient": bool(node.meta["grad"]),
        "dim": _dimension(node, role),
        "std": _number(node.meta.get("std")),
        "module_class": node.meta.get("module_class", ""),
        "location": {"path": path, "line": line, "module": node.meta.get("module") or None},
    }


def _sources(node: Node) -> List[Node]:
    """What a node reads; a loss reads its prediction first, however the arguments were spelled."""
    first = node.kwargs.get("input")
    return ([first] if isinstance(first, Node) else []) + [each for each in node.all_input_nodes if each is not first]


def _parameters(weight: Node) -> Iterator[str]:
    seen, waiting = set(), [weight]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(node.all_input_nodes)
            if node.meta.get("parameter"):
                yield node.meta["parameter"]


def _bounded(node: Node, role: str) -> bool:
    operation = _operation(node)
    if operation in ("clamp", "clip", "clamp_"):
        limits = [*node.args[1:], node.kwargs.get("min"), node.kwargs.get("max")]
        return sum(limit is not None for limit in limits) == 2
    if role == "recurrent":
        return operation in BOUNDED_RECURRENT
    return operation in BOUNDED or role in ("softmax", "norm")


def _dimension(node: Node, role: str) -> Optional[int]:
    if role not in ("softmax", "log_softmax"):
        return None
    found = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    return found if isinstance(found, int) else None


def _number(value: Any) -> Optional[float]:
    return None if value is None else float(value)


def _unique(names: Any) -> List[str]:
    return list(dict.fromkeys(names))


def _nearest(plain: Dict[str, Dict[str, Any]], output: str) -> List[str]:
    """The names to keep, in order of execution; edges to what is cut off are cut too."""
    kept, frontier = {output: None}, [output]
    while frontier and len(kept) < LARGEST:
        found = _unique(name for each in frontier for name in plain[each]["inputs"] if name not in kept)
        kept.update(dict.fromkeys(found))
        frontier = found
    for node in plain.values():
        node["inputs"] = [name for name in node["inputs"] if name in kept]
    return [name for name in plain if name in kept]
