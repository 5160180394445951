"""What is noted on nodes of the autograd graph, in their metadata: it lives exactly as long as the node."""

from __future__ import annotations

import weakref
from typing import Any, Dict, NamedTuple, Optional, Sequence

import torch
from torch import Tensor

from .rows import Rows

LOSS, MODULE, PRESENCE = "modellint loss", "modellint module", "modellint presence"


class LossCall(NamedTuple):
    """One call of a loss function: `rows` only for a loss over classes, `pair` for one over single numbers, `transcripts` for CTC.

    `weights` fills during backward(): the derivative of what it started from by the value of this call.
    """

    kind: str
    location: Dict[str, Any]
    weighted: bool = False
    ignore_index: Optional[int] = None
    rows: Optional[Rows] = None
    reduction: str = "mean"
    dense: bool = False
    value: Optional[Tensor] = None  # without rows: of the function as it was called, targets in the shape of the input
    pair: Optional[Dict[str, Any]] = None
    weights: Sequence[Tensor] = ()
    class_weights: Sequence[float] = ()
    transcripts: Optional[Dict[str, int]] = None

    def describe(self) -> Dict[str, Any]:
        return {
            "kind": self.kind,
            "weighted": self.weighted,
            "class_weights": self.class_weights,
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


class _Presence:
    """Lives as long as the node that it is noted on: a node itself cannot be held weakly."""


def presence(node: Any) -> Any:
    """A weak reference that is dead as soon as `node` is."""
    found = _Presence()
    mark(node, PRESENCE, found)
    return weakref.ref(found)


def call_of(module: torch.nn.Module, entered: Any, location: Dict[str, Any], keep: bool = False) -> ModuleCall:
    """`keep` holds the input itself: it would not be found in the graph."""
    held = _nothing if not isinstance(entered, Tensor) else (lambda: entered) if keep else weakref.ref(entered)
    return ModuleCall(weakref.ref(module), held, location)


def _nothing() -> None:
    return None
