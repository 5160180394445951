"""Train every parameter of the model: what is frozen gets a gradient, what no optimizer holds joins the first one."""

from __future__ import annotations

from typing import Any, List

import torch
from torch.optim import optimizer as optimizers

from ..patches import Patches
from . import Used
from .model import Known, on_first_call


def apply(patches: Patches, used: Used, model: Known) -> None:
    loose: List[torch.nn.Parameter] = []

    def free(found: torch.nn.Module) -> None:
        for parameter in found.parameters():
            loose.append(parameter)
            if not parameter.requires_grad:
                parameter.requires_grad_(True)
                used()

    def adopt(optimizer: Any, args: Any, kwargs: Any) -> None:
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        new = [parameter for parameter in loose if id(parameter) not in held]
        loose.clear()
        if new:
            optimizer.add_param_group({"params": new})
            used()

    on_first_call(patches, model, free)
    patches.hook(optimizers.register_optimizer_step_pre_hook(adopt))
