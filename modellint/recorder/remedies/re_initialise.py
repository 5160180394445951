"""Give weights that start all alike the initialisation of their layer."""

from __future__ import annotations

from typing import Any

import torch

from ..patches import Patches
from . import Used
from .model import Known, on_first_call


def apply(patches: Patches, used: Used, model: Known) -> None:
    def renew(found: torch.nn.Module) -> None:
        for module in found.modules():
            weight: Any = module._parameters.get("weight")
            if weight is not None and weight.dim() > 1 and bool((weight == weight.flatten()[0]).all()):
                module.reset_parameters()  # type: ignore[operator]  # layers of torch with such a weight have it
                used()

    on_first_call(patches, model, renew)
