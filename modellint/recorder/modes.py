"""A function mode in and out of the stack without disturbing modes that the user opens or closes meanwhile."""

import torch
from torch.overrides import _pop_mode, _push_mode
from torch.utils._device import DeviceContext

# Newer releases keep the device mode at the bottom of the stack and insist on finding it there.
_device_at_bottom = "_len_torch_function_stack" in DeviceContext.__exit__.__code__.co_names


def push(mode):
    """Put `mode` below all others, so that whoever closes theirs closes the right one."""
    others = _unwind()
    while others and _device_at_bottom and isinstance(others[-1], DeviceContext):
        _push_mode(others.pop())
    _push_mode(mode)
    _rewind(others)


def remove(mode):
    """Whether `mode` was on the stack."""
    others = _unwind()
    _rewind([other for other in others if other is not mode])
    return any(other is mode for other in others)


def _unwind():
    return [_pop_mode() for _ in range(torch._C._len_torch_function_stack())]


def _rewind(popped):
    for mode in reversed(popped):
        _push_mode(mode)
