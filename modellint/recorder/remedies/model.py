"""The model that a former run has found, found again when it is first called."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Dict

import torch
from torch.nn.modules import module as modules

from ..patches import Patches

Known = Dict[str, Any]  # "name" of the class and "parameters", the number of scalars


def on_first_call(patches: Patches, known: Known, act: Callable[[torch.nn.Module], Any]) -> None:
    """`act` once on each module that is such a model, before its first forward; layers may have been replaced before.

    A hook that `act` has put on the model itself comes too late for this call: it may return it to be called now.
    """
    seen: Any = weakref.WeakKeyDictionary()

    def entered(module: torch.nn.Module, args: Any) -> Any:
        if type(module).__name__ == known["name"] and module not in seen and _size(module) == known["parameters"]:
            seen[module] = True
            hook = act(module)
            return hook(module, args) if hook is not None else None
        return None

    patches.hook(modules.register_module_forward_pre_hook(entered))


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
