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
        self._note(args[0], result)
        return result

    @guarded
    def _note(self, scaler: Any, result: Any) -> None:
        factor = getattr(scaler, "_scale", None)  # a scaler that is switched off has none
        if isinstance(result, Tensor) and factor is not None:
            self._scaled = (result, factor)

    def _step(self, original: Any, args: Any, kwargs: Any) -> Any:
        optimizer = argument(args, kwargs, 1, "optimizer")
        before = self._done(optimizer)
        result = original(*args, **kwargs)
        self._stepped(optimizer, before)
        return result

    @guarded
    def _done(self, optimizer: Any) -> Optional[int]:
        return next((track.done for track in self.recorder.tracks if track.is_of(optimizer)), None)

    @guarded
    def _stepped(self, optimizer: Any, before: Optional[int]) -> None:
        if before is not None and self._done(optimizer) == before:
            self.recorder.optimizers.skipped(self.recorder.track_of(optimizer))
