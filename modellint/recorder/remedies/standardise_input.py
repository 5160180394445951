"""Standardise what enters the model: each feature or channel to mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..patches import Patches
from . import Used
from .model import Known, on_first_call


class _Statistics:
    """Of all rows that were seen so far; `dims` are those over which a feature is counted."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: Any = 0.0
        self._squares: Any = 0.0

    def standardised(self, entered: Tensor) -> Tensor:
        channel = entered.dim() - 1 if entered.dim() == 3 else 1
        dims = [dim for dim in range(entered.dim()) if dim != channel]
        with torch.no_grad():
            values = entered.detach().double()
            self._count += entered.numel() // entered.shape[channel]
            self._sum = self._sum + values.sum(dims, keepdim=True)
            self._squares = self._squares + values.square().sum(dims, keepdim=True)
            mean = self._sum / self._count
            deviation = (self._squares / self._count - mean.square()).clamp_min(0).sqrt()
        safe = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        scaled: Tensor = (entered - mean.to(entered.dtype)) / safe.to(entered.dtype)
        return scaled


def apply(patches: Patches, used: Used, model: Known) -> None:
    def standardise(found: torch.nn.Module) -> Any:
        statistics = _Statistics()

        def entering(module: Any, args: Any) -> Any:
            if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point() or args[0].dim() < 2:
                return None
            used()
            return (statistics.standardised(args[0]), *args[1:])

        found.register_forward_pre_hook(entering)
        return entering

    on_first_call(patches, model, standardise)
