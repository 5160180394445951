"""Clear gradients after each step, and not between backward() and step()."""

from __future__ import annotations

from typing import Any, Dict

import torch
from torch.optim import optimizer as optimizers

from ..patches import Patches
from . import Used, zero_grad


def apply(patches: Patches, used: Used) -> None:
    waiting: Dict[str, bool] = {}  # gradients were made and no optimizer has stepped since

    def differentiate(original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        waiting["step"] = True
        return result

    def clear(original: Any, args: Any, kwargs: Any) -> Any:
        if not waiting.get("step"):
            return original(*args, **kwargs)
        used()
        return None

    patches.around(torch.autograd, "backward", differentiate)
    patches.around(optimizers.Optimizer, "zero_grad", clear)
    patches.around(torch.nn.Module, "zero_grad", clear)
    patches.hook(optimizers.register_optimizer_step_post_hook(lambda *_: waiting.clear()))
    zero_grad.apply(patches, lambda: None)
