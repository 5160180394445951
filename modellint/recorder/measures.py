"""Numbers of a tensor that rules ask for, computed where the tensor is; they are read when the recording is over."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .operation import Leaf, Op, tensors_in
from .tensors import is_plain

_PRODUCTS = frozenset(("matmul", "__matmul__", "__rmatmul__", "bmm", "baddbmm", "einsum"))
_DIFFERENCES = frozenset(("sub", "__sub__", "rsub", "__rsub__", "subtract"))


def is_data(tensor: Tensor) -> bool:
    """A floating-point tensor that nothing learned made, with at least two elements."""
    plain = type(tensor) is Tensor and tensor.is_floating_point() and is_plain(tensor)
    return plain and not tensor.requires_grad and tensor.numel() > 1


def is_input(tensor: Tensor) -> bool:
    """Data whose scale a layer will see: floating-point numbers, or the pixels of an image."""
    return is_data(tensor) or (tensor.dtype == torch.uint8 and is_plain(tensor) and tensor.numel() > 1)


def take(op: Op, args: Any, kwargs: Any, made: Any, ledger: Any) -> None:
    """Of a product of two activations, such as scores of attention, the spread; of a target the range."""
    name = getattr(op.function, "__name__", "")
    given = [tensor for _, tensor in tensors_in((args, kwargs))]
    if name in _PRODUCTS:
        if made[0][1].dim() > 1 and is_plain(made[0][1]) and all(tensor.grad_fn is not None for tensor in given[:2]):
            op.measured["std"] = made[0][1].detach().std()
    elif op.grad and (name.endswith("_loss") or name in _DIFFERENCES):
        for tensor in filter(is_data, given):
            source = ledger.ref(tensor).source
            if isinstance(source, Leaf) and "low" not in source.measured:
                source.measured.update(low=tensor.min(), high=tensor.max())
