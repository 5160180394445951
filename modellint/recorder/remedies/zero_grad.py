"""Clear an optimizer's gradients once it has stepped on them."""

from __future__ import annotations

from typing import Any

from torch.optim import optimizer as optimizers

from ..patches import Patches
from . import Used
from .optimizer import gradients


def apply(patches: Patches, used: Used) -> None:
    def clear(optimizer: Any, args: Any, kwargs: Any) -> None:
        for gradient in gradients(optimizer):
            gradient.detach().zero_()  # not None: something may read it after the step
        used()

    patches.hook(optimizers.register_optimizer_step_post_hook(clear))
