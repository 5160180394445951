"""Steps within a CUDA graph: captured once, while nothing may be read, and made by each replay."""

from __future__ import annotations

from typing import Any, List

import torch
from torch.optim import optimizer as optimizers

from .patches import Patches, Watch, guarded, is_capturing
from .tensors import quiet
from .track import Track


class ReplayWatch(Watch):
    """The gradients that a replay leaves in `.grad` are those of its step; its loss is not known."""

    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._captured: List[Track] = []

    def apply(self, patches: Patches) -> None:
        patches.hook(optimizers.register_optimizer_step_pre_hook(self._captures))
        patches.around(torch.cuda.CUDAGraph, "replay", self._replay)

    def _captures(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if is_capturing():
            found = [track for track in self.recorder.tracks if track.is_of(optimizer)]
            self._captured += [track for track in found if track not in self._captured]

    def _replay(self, original: Any, args: Any, kwargs: Any) -> Any:
        if not self._captured:
            return original(*args, **kwargs)
        self._begins()
        result = original(*args, **kwargs)
        self._ends()
        return result

    @guarded
    def _begins(self) -> None:
        with quiet():
            for track in self._watched():
                track.begin_step()

    @guarded
    def _ends(self) -> None:
        for track in self._watched():
            with quiet():
                track.read_applied()
                changed = track.is_armed() and any(track.updates())
            if changed:
                self.recorder.optimizers.finish(track)

    def _watched(self) -> List[Track]:
        """Those of a window; while the recorder rests, a replay costs nothing."""
        recorder = self.recorder
        return [track for track in self._captured if recorder.is_sampling and track.taken < recorder.steps]
