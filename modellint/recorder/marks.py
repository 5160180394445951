"""What is noted on nodes of the autograd graph, in their metadata: it lives exactly as long as the node."""

from __future__ import annotations

import weakref
from typing import Any, Dict, NamedTuple, Optional

import torch
from torch import Tensor

from .rows import Rows

LOSS, MODULE = "modellint loss", "modellint module"


class LossCall(NamedTuple):
    """One call of a loss function; `rows` only for a loss over classes."""

    kind: str
    location: Dict[str, Any]
    weighted: bool = False
    ignore_index: Optional[int] = None
    rows: Optional[Rows] = None
    reduction: str = "mean"
    dense: bool = False
    value: Optional[Tensor] = None  # without rows: of the function as it was called, targets in the shape of the input

    def describe(self) -> Dict[str, Any]:
        return {
            "kind": self.kind,
            "weighted": self.weighted,
            "ignore_index": self.ignore_index,
            "reduction": self.reduction,
            "dense": self.dense,
            "location": self.location,
        }


class ModuleCall(NamedTuple):
    """One call of a module that owns weights; module and input are held weakly (`input()` gives the tensor or None)."""

    module: Any
    input: Any
    location: Dict[str, Any]


def mark(node: Any, key: str, value: Any) -> None:
    if node is not None:
        node.metadata.setdefault(key, value)


def call_of(module: torch.nn.Module, entered: Any, location: Dict[str, Any], keep: bool = False) -> ModuleCall:
    """`keep` holds the input itself: it would not be found in the graph."""
    held = _nothing if not isinstance(entered, Tensor) else (lambda: entered) if keep else weakref.ref(entered)
    return ModuleCall(weakref.ref(module), held, location)


def _nothing() -> None:
    return None
