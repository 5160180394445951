"""Calls of loss functions whose arguments a remedy changes."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, Iterable

from torch.nn import functional

from ..patches import Patches

Given = Dict[str, Any]  # the arguments by name, defaults included


def around_losses(patches: Patches, names: Iterable[str], change: Callable[[Given], None]) -> None:
    """`change` edits the arguments of each call of the functions of `torch.nn.functional` that are named."""

    def call(original: Any, args: Any, kwargs: Any) -> Any:
        given = inspect.signature(original).bind(*args, **kwargs)
        given.apply_defaults()
        change(given.arguments)
        return original(*given.args, **given.kwargs)

    for name in names:
        patches.around(functional, name, call)


def sums_to_one(scores: Any, dim: int) -> bool:
    """Whether the scores are probabilities along `dim`."""
    detached = scores.detach()
    return bool((detached >= 0).all()) and bool(((detached.sum(dim) - 1).abs() < 1e-2).all())


def class_dimension(scores: Any) -> int:
    return min(1, int(scores.dim()) - 1)
