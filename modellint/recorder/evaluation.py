"""Evaluations: calls of the trained model, one after the other, that no backward() follows."""

from __future__ import annotations

from typing import Any, Dict, Hashable, List, Tuple

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from . import frames, inputs
from .patches import Watch

BETWEEN = 2  # steps; an evaluation comes more rarely
CALLS = 3  # with as many different batches it is no forward pass of a training step, nor one batch many times


class EvaluationWatch(Watch):
    """Measures the first evaluation at each line of the user."""

    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._known: Dict[Hashable, Tuple[int, int]] = {}  # number of the evaluation, steps at its last call
        self._place: Hashable = None
        self._batches: List[Hashable] = []

    def trained(self) -> None:
        """A backward() came: what was called before it was no evaluation."""
        self._batches = []

    def called(self, module: torch.nn.Module, args: Any) -> None:
        """The trained model is called without gradients, or in evaluation mode."""
        place = frames.user_line()
        if place in self._known:
            self._again(place)
            return
        if place != self._place:
            self._place, self._batches = place, []
        self._batches.append(inputs.fingerprint(args) or len(self._batches))
        if len(set(self._batches)) >= CALLS:
            self._known[place] = len(self._known), self._steps()
            self._write(module)
            self.recorder.phases.evaluates(place)

    def _again(self, place: Hashable) -> None:
        """What comes with every step belongs to the step."""
        number, last = self._known[place]
        steps = self._steps()
        if last < steps <= last + BETWEEN:
            self.recorder.write({"kind": "no evaluation", "number": number})
        self._known[place] = number, steps

    def _steps(self) -> int:
        return max((track.done for track in self.recorder.tracks), default=0)

    def _write(self, module: torch.nn.Module) -> None:
        found = {
            "step": self._steps(),
            "graphs": torch.is_grad_enabled() and any(parameter.requires_grad for parameter in module.parameters()),
            "active": active(module),
            "location": frames.place(),
        }
        self.recorder.write({"kind": "evaluation", "number": len(self._known) - 1, "evaluation": found})


def active(model: torch.nn.Module) -> List[str]:
    """The dropouts and batch norms that are in training mode; not those whose statistics are estimated anew."""
    return [name for name, module in model.named_modules() if module.training and _acts(module)]


def _acts(module: torch.nn.Module) -> bool:
    if isinstance(module, _BatchNorm):
        return module.track_running_stats and module.momentum is not None
    return isinstance(module, _DropoutNd) and module.p > 0
