"""A function mode into the stack and out of it, without disturbing modes that the user opens or closes meanwhile."""

from typing import Any, Sequence

import torch
from torch._C import _len_torch_function_stack, _pop_torch_function_stack, _push_on_torch_function_stack
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext

# Newer releases keep the mode of `torch.set_default_device` at the bottom of the stack and insist on finding it there.
_DEVICE_AT_BOTTOM = "_len_torch_function_stack" in DeviceContext.__exit__.__code__.co_names


def push(mode: TorchFunctionMode) -> None:
    """Put `mode` below all others, so that whoever closes a mode closes their own."""
    stack = _unwind()
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None) if _DEVICE_AT_BOTTOM else None
    depth = 1 if stack and stack[0] is default else 0
    _rewind([*stack[:depth], mode, *stack[depth:]])


def remove(mode: TorchFunctionMode) -> bool:
    """Whether `mode` was on the stack."""
    stack = _unwind()
    _rewind([other for other in stack if other is not mode])
    return any(other is mode for other in stack)


def _unwind() -> Sequence[Any]:
    """All modes, taken off, bottom first."""
    return [_pop_torch_function_stack() for _ in range(_len_torch_function_stack())][::-1]


def _rewind(stack: Sequence[Any]) -> None:
    for mode in stack:
        _push_on_torch_function_stack(mode)
