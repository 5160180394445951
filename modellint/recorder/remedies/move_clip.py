"""Make the script's own clip where it belongs: right before the step, of all that the optimizer holds, unscaled."""

from __future__ import annotations

import inspect
import math
from typing import Any, Dict

import torch
from torch.nn.utils import clip_grad
from torch.optim import optimizer as optimizers

from ..patches import Patches
from . import Used
from .optimizer import parameters


def apply(patches: Patches, used: Used) -> None:
    clip_ = clip_grad.clip_grad_norm_
    asked: Dict[str, float] = {}  # the bound, from the first call on

    def measured(original: Any, args: Any, kwargs: Any) -> Any:
        given = inspect.signature(original).bind(*args, **kwargs)
        asked["bound"] = float(given.arguments["max_norm"])
        given.arguments["max_norm"] = math.inf  # the norm is given back, and nothing changed
        return original(*given.args, **given.kwargs)

    def clip(optimizer: Any, args: Any, kwargs: Any) -> None:
        held = parameters(optimizer)
        if asked and held:
            clip_(held, asked["bound"])
            used()

    patches.around(clip_grad, "clip_grad_norm_", measured)
    patches.put(torch.nn.utils, "clip_grad_norm_", clip_grad.clip_grad_norm_)
    patches.hook(optimizers.register_optimizer_step_pre_hook(clip))
