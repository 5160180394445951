"""Clip the gradients right before each step, when they are unscaled."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import optimizer as optimizers

from ..patches import Patches
from . import Used
from .optimizer import parameters


def apply(patches: Patches, used: Used, bound: float) -> None:
    clip_ = torch.nn.utils.clip_grad_norm_

    def clip(optimizer: Any, args: Any, kwargs: Any) -> None:
        held = parameters(optimizer)
        if held:
            clip_(held, bound)
            used()

    patches.hook(optimizers.register_optimizer_step_pre_hook(clip))
