"""Evaluations: calls of the trained model that no backward() follows, with one batch after the other or with the whole data."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Hashable, List, Tuple

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from . import frames, inputs, models
from .patches import Watch

BETWEEN = 2  # steps; an evaluation comes more rarely
CALLS = 3  # with as many different batches it is no forward pass of a training step, nor one batch many times
WITHOUT_NUMBER = -1  # is never taken back
WHOLE = 3  # times that the batch of the training, such as one graph, was evaluated after a step; more calls each time are draws


class EvaluationWatch(Watch):
    """Measures the first evaluation at each line of the user."""

    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._known: Dict[Hashable, Tuple[int, int]] = {}  # number of the evaluation, steps at its last call
        self._place: Hashable = None
        self._batches: List[Hashable] = []
        self._trained = ""  # the fingerprint of the batch of the last backward()
        self._calls: Counter[Hashable] = Counter()  # with that batch since then, at each line
        self._modes: Dict[Hashable, Tuple[Any, List[str]]] = {}
        self._whole: Counter[Tuple[Hashable, str]] = Counter()

    def trained(self) -> None:
        """A backward() came: what was called before it was no evaluation."""
        self._batches = []
        self._calls.clear()
        self._trained = (self.recorder.batch or {}).get("fingerprint", self._trained)

    def resumes(self) -> None:
        """The model is put into training mode: what was called since the last backward() belongs to no training step."""
        for place, calls in self._calls.items():
            self._whole[place, self._trained] += calls <= CALLS
            if self._whole[place, self._trained] == WHOLE:
                self._write(WITHOUT_NUMBER, *self._modes[place])
        self._calls.clear()

    def called(self, module: torch.nn.Module, args: Any) -> None:
        """The trained model is called without gradients, or in evaluation mode."""
        place = frames.user_line()
        if place in self._known:
            self._again(place)
            return
        if place != self._place:
            self._place, self._batches = place, []
        found = inputs.fingerprint(args)
        if found and found == self._trained and not torch.is_grad_enabled():
            parts = active(module)
            if not _only_normalises(module, parts):
                self._calls[place] += 1
                self._modes.setdefault(place, (frames.place(), parts))
        self._batches.append(found or len(self._batches))
        if len(set(self._batches)) >= CALLS:
            self._known[place] = len(self._known), self._steps()
            self._write(len(self._known) - 1, frames.place(), active(module), self._builds_graphs(module))
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

    def _builds_graphs(self, module: torch.nn.Module) -> bool:
        return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in module.parameters())

    def _write(self, number: int, location: Dict[str, Any], active: List[str], graphs: bool = False) -> None:
        found = {"step": self._steps(), "graphs": graphs, "active": active, "location": location}
        self.recorder.write({"kind": "evaluation", "number": number, "evaluation": found})


def active(model: torch.nn.Module) -> List[str]:
    """The dropouts and batch norms that are in training mode; not those whose statistics are estimated anew."""
    return [name for name, module in model.named_modules() if module.training and _acts(module)]


def _only_normalises(model: torch.nn.Module, parts: List[str]) -> bool:
    """Where the batch is all there is, batch norm does in training what it does in evaluation, but for a lag."""
    return bool(parts) and all(isinstance(models.part(model, name), _BatchNorm) for name in parts)


def _acts(module: torch.nn.Module) -> bool:
    if isinstance(module, _BatchNorm):
        return module.track_running_stats and module.momentum is not None
    return isinstance(module, _DropoutNd) and module.p > 0
