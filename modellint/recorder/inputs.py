"""What enters the model at a step: a fingerprint by which equal batches are known, and the range of its numbers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Dict, Iterator, List, Optional, Tuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from . import frames
from .tensors import distribution, evenly, is_plain, quiet

SAMPLE = 1024  # elements of each tensor that the fingerprint reads


def facts(model: torch.nn.Module, args: Any) -> Optional[Dict[str, Any]]:
    """The fields of a Batch, for the arguments of a call within `model`; None if no data is among them."""
    data = _data(args)
    if not data:
        return None
    with quiet():
        real = [tensor for tensor in data if tensor.is_floating_point()]
        largest = max(real, key=lambda tensor: tensor.numel(), default=None)
        return {
            "fingerprint": _fingerprint(data),
            "shape": list(data[0].shape),
            "values": distribution(largest) if largest is not None else {},
            "idle": idle(model),
        }


def fingerprint(args: Any) -> str:
    """Of the data among the arguments of a call; empty if there is none."""
    data = _data(args)
    with quiet():
        return _fingerprint(data) if data else ""


def each(args: Any) -> Iterator[str]:
    """The fingerprint of each tensor of data among the arguments of a call."""
    return (fingerprint([tensor]) for tensor in _data(args))


def shapes(args: Any) -> Iterator[Tuple[int, ...]]:
    """Of the data among the arguments of a call."""
    return (tuple(tensor.shape) for tensor in _data(args))


def idle(model: torch.nn.Module) -> List[str]:
    """Of a model that is in evaluation mode: the trained batch norms, and the dropouts if most of it is trained."""
    if model.training:
        return []
    trained = [parameter.requires_grad for parameter in model.parameters()]
    whole = 2 * sum(trained) >= len(trained)
    parts = ((name or type(module).__name__, module) for name, module in model.named_modules())
    return [name for name, module in parts if not module.training and _is_moded(module, whole)]


def _is_moded(module: torch.nn.Module, whole: bool) -> bool:
    """Whether the module computes something else in training, where it learns at all."""
    if isinstance(module, _BatchNorm):
        return any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    return whole and _drops(module)


def _drops(module: torch.nn.Module) -> bool:
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, (torch.nn.RNNBase, torch.nn.MultiheadAttention)):
        return module.dropout > 0
    code = getattr(type(module).forward, "__code__", None)
    if code is None or not {"dropout", "training"} <= set(code.co_names):
        return False
    rates = [rate for name, rate in vars(module).items() if "drop" in name and isinstance(rate, (int, float))]
    return any(rates) or (not rates and frames.user_path(code.co_filename) is not None)


def _data(args: Any) -> List[Tensor]:
    return [tensor for tensor in _tensors(args) if not tensor.requires_grad and is_plain(tensor) and tensor.numel()]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)


def _fingerprint(tensors: List[Tensor]) -> str:
    known = 0
    for tensor in tensors:
        flat = tensor.detach().reshape(-1)
        chosen = flat[evenly(len(flat), SAMPLE)]
        known = zlib.crc32(str((list(tensor.shape), chosen.tolist())).encode(), known)
    return "%08x" % known
