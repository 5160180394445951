"""GradScaler: the factor that a loss and its gradients carry, and the updates that it skips."""

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from .patches import Patches, Watch, argument, guarded


class ScalerWatch(Watch):
    def __init__(self, recorder: Any) -> None:
        super().__init__(recorder)
        self._scaled: Any = None

    def apply(self, patches: Patches) -> None:
        kinds = {torch.cuda.amp.GradScaler, getattr(torch.amp, "GradScaler", torch.cuda.amp.GradScaler)}
        methods = {"scale": self._scale, "step": self._step}
        homes = {(home, name) for kind in kinds for home in kind.__mro__ for name in methods if name in vars(home)}
        for home, name in homes:
            patches.around(home, name, methods[name])

    def scale_of(self, root: Tensor) -> Optional[float]:
        """By what the loss that backward() starts from was multiplied; None if no scaler has seen it."""
        if self._scaled is None or self._scaled[0] is not root:
            return None
        return float(self._scaled[1].item())

    def forget(self) -> None:
        self._scaled = None

    def _scale(self, original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        scaler, outputs = args[0], argument(args, kwargs, 1, "outputs")
        if isinstance(outputs, Tensor) and isinstance(result, Tensor) and scaler._scale is not None:
            self._scaled = (result, scaler._scale)
        return result

    def _step(self, original: Any, args: Any, kwargs: Any) -> Any:
        optimizer = argument(args, kwargs, 1, "optimizer")
        before = [track.done for track in self.recorder.tracks if track.is_of(optimizer)]
        result = original(*args, **kwargs)
        self._stepped(optimizer, before)
        return result

    @guarded
    def _stepped(self, optimizer: Any, before: Any) -> None:
        track = next((track for track in self.recorder.tracks if track.is_of(optimizer)), None)
        if track is not None and [track.done] == before:
            self.recorder.optimizers.skipped(track)
