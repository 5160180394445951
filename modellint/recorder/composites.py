"""Functions and modules that must not be recorded as a single call, or not from inside."""

from __future__ import annotations

import types
from typing import Any, Callable

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
# With any function mode active these leave their fused path in eval mode, which changes the last bits of their results.
FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
