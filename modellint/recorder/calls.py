"""Calls of modules: which one owns the optimizers' parameters, and which module made which operation of the graph."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as modules

from . import frames, inputs, marks
from .patches import Patches, Watch, guarded


class CallWatch(Watch):
    """Global hooks on every module: `apply` when the first optimizer exists, not before."""

    def apply(self, patches: Patches) -> None:
        patches.hook(modules.register_module_forward_pre_hook(self._entered))
        patches.hook(modules.register_module_forward_hook(self._left, always_call=True))

    @guarded
    def _entered(self, module: torch.nn.Module, args: Any) -> None:
        recorder = self.recorder
        if torch.is_grad_enabled() and recorder.roster.note(module, recorder.tracks):
            recorder.place("model")
        if recorder.is_sampling and recorder.batch is None and torch.is_grad_enabled() and recorder.roster.owns(module):
            recorder.batch = inputs.facts(module, args)

    @guarded
    def _left(self, module: torch.nn.Module, args: Any, result: Any) -> None:
        if result is None and isinstance(sys.exc_info()[1], Exception):
            self.recorder.raised(sys.exc_info()[1])
        elif isinstance(result, Tensor) and result.grad_fn is not None and _owns_weight(module):
            keep = not self.recorder.may_read_saved and self.recorder.roster.is_readout(module)
            marks.mark(
                result.grad_fn, marks.MODULE, marks.call_of(module, args[0] if args else None, frames.place(), keep)
            )


def _owns_weight(module: torch.nn.Module) -> bool:
    own = any(parameter is not None and parameter.dim() >= 2 for parameter in module._parameters.values())
    return own or hasattr(module, "parametrizations")
