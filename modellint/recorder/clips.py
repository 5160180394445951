"""Calls that clip gradients: the bound, the norm they saw, and whether the gradients were there and still unused."""

from __future__ import annotations

import functools
import inspect
from typing import Any, List, Optional

import torch
from torch import Tensor
from torch.nn.utils import clip_grad

from . import frames
from .patches import Patches, Watch, guarded
from .tensors import Norms, quiet, total

_FUNCTIONS = (("clip_grad_norm_", "norm", "max_norm"), ("clip_grads_with_norm_", "norm", "max_norm"))
_BY_VALUE = ("clip_grad_value_", "value", "clip_value")


class ClipWatch(Watch):
    def apply(self, patches: Patches) -> None:
        for name, kind, bound in (*_FUNCTIONS, _BY_VALUE):
            if hasattr(clip_grad, name):
                patches.around(clip_grad, name, functools.partial(self._around, kind, bound))
                patches.put(torch.nn.utils, name, getattr(clip_grad, name))

    def _around(self, kind: str, bound: str, original: Any, args: Any, kwargs: Any) -> Any:
        if self.recorder.phases.resting:
            return original(*args, **kwargs)
        given = inspect.signature(original).bind(*args, **kwargs)
        given.apply_defaults()
        parameters = given.arguments["parameters"]
        if not isinstance(parameters, Tensor):
            given.arguments["parameters"] = parameters = list(parameters)  # a generator can be read only once
        listed = [parameters] if isinstance(parameters, Tensor) else parameters
        before = self._norm(listed) if kind == "value" else None
        result = original(*given.args, **given.kwargs)
        norm = given.arguments.get("total_norm", result) if kind == "norm" else before
        self._note(kind, given.arguments[bound], listed, norm)
        return result

    @guarded
    def _norm(self, parameters: List[Tensor]) -> Optional[float]:
        with quiet():
            return total(Norms([parameter.grad for parameter in parameters]).values())

    @guarded
    def _note(self, kind: str, bound: Any, parameters: List[Tensor], norm: Any) -> None:
        seen = None if norm is None or _is_partial(norm) else float(norm)
        tracks = [track for track in self.recorder.tracks if not self.recorder.by_hand.waits(track)]
        for track in [track for track in tracks if track.shares(parameters)] or tracks[:1]:
            after_step = track.applied and bool(seen)
            clip = {"kind": kind, "bound": float(bound), "norm": seen, "location": frames.place()}
            clip.update(after_backward=track.fresh, after_step=after_step)
            step = track.done - 1 if after_step else track.done
            numbers = [self.recorder.roster.number(parameter) for parameter in parameters]
            self.recorder.write(
                {"kind": "clip", "optimizer": track.index, "step": step, "clip": clip, "parameters": numbers}
            )


def _is_partial(norm: Any) -> bool:
    """A norm of shards, which all ranks would have to add up."""
    return not all(placement.is_replicate() for placement in getattr(norm, "placements", ()))
