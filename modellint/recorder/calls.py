"""Calls of modules: which one owns the optimizers' parameters, and which module made which operation of the graph."""

from __future__ import annotations

import sys
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as modules

from . import frames, inputs, marks, models
from .patches import Patches, Watch, guarded


class CallWatch(Watch):
    """Global hooks on every module: `apply` when the first optimizer exists, not before."""

    _trained: Any = None

    def apply(self, patches: Patches) -> None:
        patches.hook(modules.register_module_forward_pre_hook(self._entered))
        patches.hook(modules.register_module_forward_hook(self._left, always_call=True))
        patches.around(torch.nn.Module, "train", self._switched)

    def _switched(self, original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        self._resumes(args[0])
        return result

    @guarded
    def _resumes(self, module: torch.nn.Module) -> None:
        if module.training and self._is_trained(module):
            self.recorder.evaluations.resumes()

    @guarded
    def _entered(self, module: torch.nn.Module, args: Any) -> None:
        recorder = self.recorder
        if not (torch.is_grad_enabled() and module.training) and self._is_trained(module):
            recorder.evaluations.called(module, args)
        if recorder.is_sampling and module.training:
            recorder.bystanders.called(module, args)
        if not recorder.is_sampling or not torch.is_grad_enabled():
            return
        if recorder.roster.note(module, recorder.tracks):
            recorder.notes.place("model")
        if recorder.batch is None and recorder.roster.owns(module):
            self._note(module, args)

    def _note(self, module: torch.nn.Module, args: Any) -> None:
        """The outermost call of a step is that of its model; the first with data among its arguments tells the batch."""
        recorder = self.recorder
        recorder.bystanders.feeds(args)
        if recorder.called is None:
            recorder.called = self._trained = weakref.ref(models.unwrapped(module))
        model = recorder.called()
        if model is not None:
            recorder.batch = inputs.facts(model, args)

    def _is_trained(self, module: torch.nn.Module) -> bool:
        """Whether it is the model of the last step, wrapped or not."""
        model = self._trained() if self._trained is not None else None
        return model is not None and models.unwrapped(module) is model

    @guarded
    def _left(self, module: torch.nn.Module, args: Any, result: Any) -> None:
        if self.recorder.is_sampling:
            self.recorder.bystanders.answered(module, result)
        if result is None and isinstance(sys.exc_info()[1], Exception):
            if not self.recorder.is_examining:
                self.recorder.notes.raised(sys.exc_info()[1])
        elif (
            self.recorder.is_sampling
            and isinstance(result, Tensor)
            and result.grad_fn is not None
            and _owns_weight(module)
        ):
            keep = not self.recorder.may_read_saved and self.recorder.roster.is_readout(module)
            marks.mark(
                result.grad_fn, marks.MODULE, marks.call_of(module, args[0] if args else None, frames.place(), keep)
            )


def _owns_weight(module: torch.nn.Module) -> bool:
    own = any(parameter is not None and parameter.dim() >= 2 for parameter in module._parameters.values())
    return own or hasattr(module, "parametrizations")
