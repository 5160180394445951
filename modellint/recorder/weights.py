"""What the weight of a layer is computed from: its parameters, and those that are multiplied with each other."""

from __future__ import annotations

from typing import Iterable, Iterator, List

from torch.fx import Node


def parameters(weight: Node) -> Iterator[str]:
    """The names of those that a weight is computed from."""
    seen, waiting = {weight}, [weight]
    while waiting:
        node = waiting.pop()
        if node.meta.get("parameter"):
            yield node.meta["parameter"]
        fresh = [source for source in node.all_input_nodes if source not in seen]
        seen.update(fresh)
        waiting.extend(fresh)


def products(weight: Node) -> Iterator[List[str]]:
    """Parameters that are multiplied with each other, in each product that a weight is the sum of."""
    names = _factors(weight)
    if len(names) > 1:
        yield names
    elif weight.meta["role"] in ("add", "reshape"):
        for source in weight.all_input_nodes:
            yield from products(source)


def _factors(weight: Node) -> List[str]:
    if weight.meta.get("parameter"):
        return [weight.meta["parameter"]]
    if weight.meta["role"] in ("mul", "linear", "reshape"):
        return unique(name for source in weight.all_input_nodes for name in _factors(source))
    return []


def unique(names: Iterable[str]) -> List[str]:
    return list(dict.fromkeys(names))
