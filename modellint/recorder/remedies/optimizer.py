"""What several remedies ask of an optimizer."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

from torch import Tensor
from torch.optim import optimizer as optimizers

from ..patches import Patches


def parameters(optimizer: Any) -> List[Tensor]:
    """Those that have a gradient."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def gradients(optimizer: Any) -> List[Tensor]:
    return [p.grad for p in parameters(optimizer) if p.grad is not None]


def scale_rates(patches: Patches, factor: Callable[[Any, Any], Any]) -> None:
    """For the length of each step a group's rate is `factor(optimizer, rate)`: a schedule that sets it goes on as before."""
    kept: Dict[int, List[Tuple[Any, Any]]] = {}

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        kept[id(optimizer)] = [(group, group["lr"]) for group in optimizer.param_groups if "lr" in group]
        for group, rate in kept[id(optimizer)]:
            group["lr"] = factor(optimizer, rate)

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        for group, rate in kept.pop(id(optimizer), ()):
            group["lr"] = rate

    patches.hook(optimizers.register_optimizer_step_pre_hook(before))
    patches.hook(optimizers.register_optimizer_step_post_hook(after))
