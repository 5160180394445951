"""Keep the modules of the model in training mode whenever gradients are computed."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules import module as modules

from ..patches import Patches
from . import Used


def apply(patches: Patches, used: Used) -> None:
    def entered(module: torch.nn.Module, args: Any) -> None:
        if torch.is_grad_enabled() and not module.training:
            module.training = True
            used()

    patches.hook(modules.register_module_forward_pre_hook(entered))
