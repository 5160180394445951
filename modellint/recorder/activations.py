"""The graph of a loss: its size, and how many units of each ReLU in it are zero for the whole batch."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

from torch import Tensor

from . import walk
from .tensors import is_plain

ROWS = 32  # in fewer rows a living unit is often zero by chance
DEPTH = 12  # operations between a ReLU and the weights before it: a norm, a sum, some views


def facts(root: Any, may_read_saved: bool, number: Callable[[Tensor], int]) -> Dict[str, Any]:
    """The fields of a Step; zero units by the number of the weight before the ReLU.

    Where a weight feeds several ReLUs, as one that is used at each time step does, the liveliest of them counts.
    """
    nodes = list(walk.below(root))
    relus = [node for node in nodes if node.name().startswith("ReluBackward")] if may_read_saved else []
    zero_units: Dict[int, float] = {}
    for weight, share in filter(None, map(_zero_units, relus)):
        key = number(weight)
        zero_units[key] = min(share, zero_units.get(key, 1.0))
    return {"graph_size": len(nodes), "zero_units": zero_units}


def _zero_units(relu: Any) -> Optional[Tuple[Tensor, float]]:
    """The weight before a ReLU, and the share of units that are zero in every row."""
    try:
        result = relu._saved_result
    except RuntimeError:  # freed, or changed in place since
        return None
    for node in walk.below(relu, DEPTH):
        weight = walk.weight(node)
        if weight is not None and is_plain(result) and result.dim() > 1:
            channels = 1 if node.name().startswith("Convolution") else -1
            units = result.detach().movedim(channels, -1).reshape(-1, result.shape[channels])
            return (weight, (units <= 0).all(0).float().mean().item()) if len(units) >= ROWS else None
    return None
