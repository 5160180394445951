"""Functions and modules that must not be recorded as a single call, or not from inside."""

from __future__ import annotations

import types
from typing import Any, Callable

import torch
from torch import nn
from torch.nn import functional

_DISPATCH = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


def _body(function: Any) -> Callable[..., Any]:
    """`function` without its own dispatch to the mode, so that the calls that it makes are seen one by one."""
    scope = {**function.__globals__, **dict.fromkeys(_DISPATCH, lambda *_: False)}
    body = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body


BODIES = {functional.multi_head_attention_forward: _body(functional.multi_head_attention_forward)}
_FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


def may_fuse(module: nn.Module) -> bool:
    """Whether a module may take a fused path, which it leaves when any mode is active: that changes its last bits."""
    if not isinstance(module, _FUSED) or module.training:
        return False
    return not (torch.is_grad_enabled() and all(parameter.requires_grad for parameter in module.parameters()))
