"""Reading tensors without a trace: no gradient, no random numbers, no mode of the user's, few transfers to the host."""

from __future__ import annotations

import contextlib
import math
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes

SAMPLED = 1 << 16
Numbers = List[Optional[float]]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Statistics are computed in here: nothing that the user switched on sees them."""
    with torch.no_grad(), torch._C.DisableTorchFunction(), _disable_current_modes(), _outside_transforms():
        yield


def _outside_transforms() -> Any:
    """Within torch.func every result would be wrapped for its transform."""
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return temporarily_pop_interpreter_stack() if transformed else contextlib.nullcontext()


def unwrapped(tensor: Any) -> Any:
    """The values behind torch.func.grad, as the tensor that it was given; anything else as it is."""
    functorch = torch._C._functorch
    if isinstance(tensor, Tensor) and functorch.is_gradtrackingtensor(tensor):
        return functorch.get_unwrapped(tensor)
    return tensor


def local(tensor: Tensor) -> Tensor:
    """The values that lie in this process (a shard of a DTensor, the stored values of a sparse tensor)."""
    tensor = getattr(tensor, "_local_tensor", tensor)
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    return tensor.detach()


def is_plain(tensor: Any) -> bool:
    """Whether `tensor` holds numbers that may be read: no meta or fake tensor, nothing under vmap or jvp."""
    if not isinstance(tensor, Tensor) or tensor.device.type == "meta":
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(tensor) and not hasattr(tensor, "fake_mode")


def is_there(tensor: Tensor) -> bool:
    """Whether its values lie in memory: FSDP frees whole parameters after each use, and reading one then is fatal."""
    held = local(tensor)
    return held.layout != torch.strided or not held.numel() or held.untyped_storage().nbytes() > 0


class Norms:
    """The L2 norms of some tensors; they stay on their devices until `values`."""

    def __init__(self, tensors: Sequence[Optional[Tensor]]) -> None:
        self._size = len(tensors)
        self._parts: List[Tuple[List[int], Tensor]] = []
        groups: Dict[Any, List[Tuple[int, Tensor]]] = {}
        for index, tensor in enumerate(tensors):
            if tensor is not None and tensor.numel():
                held = local(tensor)
                groups.setdefault((held.device, held.dtype), []).append((index, held))
        for (_, dtype), members in groups.items():
            self._parts.append(([index for index, _ in members], _norms(dtype, [held for _, held in members])))

    def values(self) -> Numbers:
        found: Numbers = [None] * self._size
        for indices, vector in self._parts:
            for index, value in zip(indices, vector.tolist()):
                found[index] = value
        return found


def distribution(tensor: Tensor) -> Dict[str, float]:
    """The fields of a Distribution, over an even sample of at most 65,536 elements."""
    flat = tensor.detach().reshape(-1)
    sample = flat[:: -(-flat.numel() // SAMPLED)].double()
    low, high = sample.aminmax()
    std, mean = torch.std_mean(sample, correction=0)
    return {"mean": mean.item(), "std": std.item(), "min": low.item(), "max": high.item()}


def total(norms: Numbers) -> float:
    """The norm of all together; zero when no tensor was there."""
    return math.sqrt(sum(norm * norm for norm in norms if norm is not None))


def number(value: Any) -> Optional[float]:
    if isinstance(value, Tensor):
        return float(value.item()) if value.numel() == 1 else None
    return float(value) if isinstance(value, (int, float)) else None


def _norms(dtype: torch.dtype, tensors: List[Tensor]) -> Tensor:
    if dtype in (torch.float32, torch.float64):
        return torch.stack(torch._foreach_norm(tensors))
    if dtype.is_complex:
        return torch.stack([torch.linalg.vector_norm(tensor).float() for tensor in tensors])
    return torch.stack([torch.linalg.vector_norm(tensor, dtype=torch.float32) for tensor in tensors])


def evenly(count: int, limit: int) -> List[int]:
    """At most `limit` of the indices 0..count-1, evenly spaced."""
    return list(range(count)) if count <= limit else [index * count // limit for index in range(limit)]
