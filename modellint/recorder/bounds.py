"""Labels, indices and probabilities out of range: a CPU refuses them where they are, a GPU at some later line."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, Optional, Set

from torch import Tensor
from torch.nn import functional

from . import frames
from .patches import Patches, Watch, guarded
from .tensors import is_plain, quiet, unwrapped


class BoundsWatch(Watch):
    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._told: Set[str] = set()  # a function mode calls twice

    def apply(self, patches: Patches) -> None:
        for name in REFUSALS:
            patches.around(functional, name, self._around)

    def _around(self, original: Any, args: Any, kwargs: Any) -> Any:
        if self.recorder.is_sampling:
            self._look(original, args, kwargs)
        return original(*args, **kwargs)

    @guarded
    def _look(self, function: Any, args: Any, kwargs: Any) -> None:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        given = {name: unwrapped(value) for name, value in bound.arguments.items()}
        if is_plain(given["input"]) and is_late(given["input"]):
            with quiet():
                message = REFUSALS[function.__name__](given)
            if message is not None and message not in self._told:
                self._told.add(message)
                self.recorder.write({"kind": "refused", "message": message, "location": frames.place()})


def is_late(tensor: Tensor) -> bool:
    """Whether its device tells the host of a failure only when it is next asked."""
    return tensor.device.type != "cpu"


def _label(given: Dict[str, Any]) -> Optional[str]:
    labels, classes = given["target"], given["input"].shape[1 if given["input"].dim() > 1 else 0]
    if labels.is_floating_point():
        return None
    wrong = labels[(labels != given["ignore_index"]) & ((labels < 0) | (labels >= classes))]
    return "a label is %d, and there are %d classes" % (int(wrong[0]), classes) if len(wrong) else None


def _index(given: Dict[str, Any]) -> Optional[str]:
    indices, rows = given["input"], len(given["weight"])
    wrong = indices[(indices < 0) | (indices >= rows)]
    return "an index is %d, and the embedding has %d rows" % (int(wrong[0]), rows) if len(wrong) else None


def _probability(given: Dict[str, Any]) -> Optional[str]:
    values = given["input"]
    wrong = values[~((values >= 0) & (values <= 1))]
    return "binary_cross_entropy is given %g, which is no probability" % float(wrong[0]) if len(wrong) else None


REFUSALS: Dict[str, Callable[[Dict[str, Any]], Optional[str]]] = {
    "cross_entropy": _label,
    "nll_loss": _label,
    "embedding": _index,
    "binary_cross_entropy": _probability,
}
