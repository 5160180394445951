"""Calls of torch's loss functions: which one, where, with what weights, and for a loss over classes its rows."""

from __future__ import annotations

import inspect
import threading
from typing import Any, List, Optional

from torch import Tensor
from torch.nn import functional

from . import frames, marks, pairs, transcripts
from .objective import objective
from .patches import Patches, Watch, guarded
from .rows import Rows, flat
from .tensors import is_plain, quiet, unwrapped

MOST = 1000  # classes whose weights are kept


class LossWatch(Watch):
    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._depth = threading.local()

    def apply(self, patches: Patches) -> None:
        for name in functions():
            patches.around(functional, name, self._around)

    def _around(self, original: Any, args: Any, kwargs: Any) -> Any:
        """Only the outermost call counts: one loss may be written with another, and function modes call twice."""
        depth = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        try:
            result = original(*args, **kwargs)
        finally:
            self._depth.value = depth
        if depth == 0 and self.recorder.is_sampling:
            self._note(original, args, kwargs, result)
        return result

    @guarded
    def _note(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        if isinstance(result, Tensor) and result.grad_fn is not None and is_plain(unwrapped(result)):
            weights: List[Tensor] = []
            values = tuple(unwrapped(arg) for arg in args), {key: unwrapped(arg) for key, arg in kwargs.items()}
            with quiet():
                found = call(function, *values, unwrapped(result))._replace(weights=weights)
            marks.mark(result.grad_fn, marks.LOSS, found)
            if not result.dim():
                result.grad_fn.register_prehook(weights.extend)
                self.recorder.losses.append(found)


def functions() -> List[str]:
    others = ("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div")
    public = [name for name in dir(functional) if name.endswith("_loss") and not name.startswith("_")]
    return [name for name in (*others, *public) if inspect.isfunction(getattr(functional, name))]


def call(function: Any, args: Any, kwargs: Any, result: Tensor) -> marks.LossCall:
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    given, name = bound.arguments, function.__name__
    weighted = any(isinstance(given.get(key), Tensor) for key in ("weight", "pos_weight"))
    kind = name[: -len("_loss")] if name.endswith("_loss") else name
    rows = _rows(given) if name in ("cross_entropy", "nll_loss") else None
    dense = rows is not None and given["input"].ndim > 2
    reduction = str(given.get("reduction", "mean"))
    value = None if rows else objective(function, bound.arguments, result)
    pair = pairs.facts(given) if name in pairs.NAMES else None
    return marks.LossCall(
        kind,
        frames.place(),
        weighted,
        given.get("ignore_index"),
        rows,
        reduction,
        dense,
        value,
        pair,
        class_weights=_weights(given) if rows or name == "binary_cross_entropy_with_logits" else (),
        transcripts=transcripts.facts(given) if name == "ctc_loss" else None,
    )


def _weights(given: Any) -> List[float]:
    """Those of the classes, as far as they are few; a binary loss has one, of the positives."""
    of_classes, of_positives = given.get("weight"), given.get("pos_weight")
    if isinstance(of_positives, Tensor) and of_positives.numel() == 1:
        return [1.0, float(of_positives)]
    is_few = isinstance(of_classes, Tensor) and of_classes.dim() == 1 and len(of_classes) <= MOST
    return list(map(float, of_classes.tolist())) if is_few and "pos_weight" not in given else []


def _rows(given: Any) -> Optional[Rows]:
    matrix = flat(given["input"].detach(), given["target"])
    return Rows(*matrix, given["ignore_index"]) if matrix else None
