"""Normalise what enters the readout, as a LayerNorm without parameters."""

from __future__ import annotations

from typing import Any

from torch.nn import functional

from ..patches import Patches
from . import Used
from .model import Known, on_first_call


def apply(patches: Patches, used: Used, model: Known, path: str) -> None:
    def normalised(module: Any, args: Any) -> Any:
        used()
        entered = args[0]
        if module.weight.dim() == 2:
            return (functional.layer_norm(entered, entered.shape[-1:]), *args[1:])
        moved = entered.movedim(1, -1)
        return (functional.layer_norm(moved, moved.shape[-1:]).movedim(-1, 1), *args[1:])

    def normalise(found: Any) -> Any:
        found.get_submodule(path).register_forward_pre_hook(normalised)
        return None if path else normalised

    on_first_call(patches, model, normalise)
