"""Divide gradients by the loss scale that the script left on them before it steps."""

from __future__ import annotations

from typing import Any, Dict

import torch
from torch.optim import optimizer as optimizers

from ..patches import Patches
from . import Used
from .optimizer import gradients


def apply(patches: Patches, used: Used) -> None:
    state: Dict[str, Any] = {"scale": None}

    def scaled(original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        state["scale"] = getattr(args[0], "_scale", None)
        return result

    def unscaled(original: Any, args: Any, kwargs: Any) -> Any:
        state["scale"] = None
        return original(*args, **kwargs)

    def divide(optimizer: Any, args: Any, kwargs: Any) -> None:
        scale, state["scale"] = state["scale"], None
        for gradient in gradients(optimizer) if scale is not None else ():
            gradient.div_(scale.to(gradient.device))
            used()

    kinds = {torch.cuda.amp.GradScaler, getattr(torch.amp, "GradScaler", torch.cuda.amp.GradScaler)}
    for name, act in (("scale", scaled), ("unscale_", unscaled), ("step", unscaled)):
        for home in {home for kind in kinds for home in kind.__mro__ if name in vars(home)}:
            patches.around(home, name, act)
    patches.hook(optimizers.register_optimizer_step_pre_hook(divide))
