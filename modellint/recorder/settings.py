"""The literal arguments of an operation, by torch's names: `dim`, `p`, `training`, `scale`."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Dict, Tuple

from torch.fx import Node

from .patterns import mixing, operation

# Of functions written in C, which have no signature, the arguments in order.
_ORDER = {
    "softmax": "input dim dtype",
    "log_softmax": "input dim dtype",
    "dropout": "input p training",
    "batch_norm": "input weight bias running_mean running_var training momentum eps",
    "scaled_dot_product_attention": "query key value attn_mask dropout_p is_causal scale enable_gqa",
    "transpose": "input dim0 dim1",
    "swapaxes": "input dim0 dim1",
    "unsqueeze": "input dim",
    "squeeze": "input dim",
    "mean": "input dim keepdim",
    "sum": "input dim keepdim",
    "clamp": "input min max",
    "clip": "input min max",
    "clamp_min": "input min",
    **dict.fromkeys(("add", "sub", "rsub", "mul", "div", "truediv", "rtruediv", "true_divide", "pow"), "input other"),
}
_LITERALS = (int, float, bool, str)


def settings(node: Node) -> Dict[str, Any]:
    """Arguments without a known name are named by their position."""
    names = _names(node.target) or tuple(_ORDER.get(operation(node), "").split())
    named = {names[i] if i < len(names) else str(i): value for i, value in enumerate(node.args)}
    found = {key: value for key, value in {**named, **node.kwargs}.items() if _is_literal(value)}
    weights = mixing(node) if node.meta["role"] == "attention" else None
    return found if weights is None else {**found, "mixes": node.all_input_nodes.index(weights)}


def _is_literal(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(isinstance(item, int) for item in value)
    return isinstance(value, _LITERALS)


@functools.lru_cache(maxsize=None)
def _names(function: Any) -> Tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters) if inspect.isfunction(function) else ()
    except ValueError:  # written in C below a wrapper
        return ()
