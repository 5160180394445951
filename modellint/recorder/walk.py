"""The autograd graph of a loss: which loss function made it, and which parametric operation below feeds that."""

from __future__ import annotations

from collections import deque
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from . import features, marks
from .rows import Rows, flat
from .tensors import is_plain

LIMIT = 5000
_SAVED = {
    "Addmm": "_saved_mat1",
    "Mm": "_saved_self",
    "Bmm": "_saved_self",
    "Convolution": "_saved_input",
    "Linear": "_saved_input",
}


class Readout(NamedTuple):
    """The parametric operation that feeds the loss: its module where one was called, its weight, what went in."""

    module: Optional[torch.nn.Module]
    weight: Optional[Tensor]
    features: Optional[Tensor]
    location: Dict[str, Any]


def loss_of(root: Any, may_read_saved: bool) -> Tuple[Any, Optional[marks.LossCall]]:
    """The node of the loss function nearest to `root`, one over classes before others; (root, None) without any."""
    first: Tuple[Any, Optional[marks.LossCall]] = (root, None)
    for node in below(root):
        call = node.metadata.get(marks.LOSS) or (_nll(node) if may_read_saved else None)
        if call is not None and call.rows is not None:
            return node, call
        if call is not None and first[1] is None:
            first = node, call
    return first


def readout_of(loss: Any, may_read_saved: bool) -> Optional[Readout]:
    """The first operation with a weight matrix that is met going down from the loss."""
    calls: Dict[Any, marks.ModuleCall] = {}
    for node in below(loss):
        call = node.metadata.get(marks.MODULE) or calls.get(node)
        found = weight(node)
        if found is not None:
            module = call.module() if call else None
            return Readout(module, found, _features(node, call, found, may_read_saved), call.location if call else {})
        if call is not None:
            calls.update(
                (child, call)
                for child, _ in node.next_functions
                if marks.MODULE not in (child.metadata if child else {})
            )
    return None


def leaves(root: Any) -> List[Tensor]:
    """The parameters that a loss depends on; where there are none, all leaves that require a gradient."""
    found = [node.variable for node in below(root, 1 << 20) if hasattr(node, "variable")]
    return [leaf for leaf in found if isinstance(leaf, torch.nn.Parameter)] or found


def below(root: Any, limit: int = LIMIT) -> Iterator[Any]:
    """The nodes that `root` depends on, itself first, then by their distance."""
    queue, seen = deque([root]), {root}
    while queue and len(seen) < limit:
        node = queue.popleft()
        if node is None:
            continue
        yield node
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                queue.append(child)


def _nll(node: Any) -> Optional[marks.LossCall]:
    """A loss over classes that was called below every wrapper, read from what its node saved."""
    if not node.name().startswith("NllLoss"):
        return None
    try:
        scores, target, ignored = node._saved_self, node._saved_target, node._saved_ignore_index
        matrix = flat(scores, target)
        rows = Rows(*matrix, ignored) if matrix and is_plain(scores) else None
        return marks.LossCall("nll", {}, node._saved_weight is not None, ignored, rows)
    except RuntimeError:  # the buffers were freed by an earlier backward
        return None


def weight(node: Any) -> Optional[Tensor]:
    """The weight matrix that this operation applies: a Parameter, rather than an input that is a leaf itself."""
    if not any(node.name().startswith(kind) for kind in _SAVED):
        return None
    leaves = [
        leaf for child, _ in node.next_functions for leaf in [_leaf(child)] if leaf is not None and leaf.dim() >= 2
    ]
    return max(leaves, key=lambda leaf: isinstance(leaf, torch.nn.Parameter), default=None)


def _leaf(node: Any) -> Optional[Tensor]:
    """The leaf behind transposes, views and the casts of autocast."""
    for _ in range(5):
        if node is None or hasattr(node, "variable") or len(node.next_functions) != 1:
            break
        node = node.next_functions[0][0]
    leaf: Optional[Tensor] = getattr(node, "variable", None)
    return leaf


def _features(node: Any, call: Optional[marks.ModuleCall], weight: Tensor, may_read_saved: bool) -> Optional[Tensor]:
    entered = call.input() if call else None
    if entered is None and may_read_saved:
        saved = next(name for kind, name in _SAVED.items() if node.name().startswith(kind))
        try:
            entered = getattr(node, saved, None)
        except RuntimeError:
            return None
    if entered is None or not is_plain(entered) or not entered.is_floating_point() or not entered.dim():
        return None
    convolves = node.name().startswith("Convolution")
    return features.sample(entered, -weight.dim() + 1 if convolves else -1)
