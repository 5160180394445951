"""One of several processes that train together: who it is, and which of its tensors are parts of larger ones.

Nothing here communicates: the ranks are put together by whoever reads what each has written.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor

from .tensors import Numbers


def standing() -> Optional[Dict[str, Any]]:
    """The fields "rank" and "world"; None for a process that trains alone."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    world = distributed.get_world_size()
    return {"rank": distributed.get_rank(), "world": world} if world > 1 else None


def copies(tensor: Any, world: int) -> int:
    """How many of `world` ranks hold the same values as this one: all of them, unless it is a shard."""
    if getattr(tensor, "_fsdp_flattened", False):  # of FullyShardedDataParallel, whose parameters are plain tensors
        return 1
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is None:
        return world
    parts: List[int] = [mesh.size(axis) for axis, held in enumerate(tensor.placements) if not held.is_replicate()]
    return max(1, world // math.prod(parts))


def share(norms: Numbers, held: Sequence[int]) -> float:
    """This rank's part of the norm of all: the squares of the parts of all ranks add up to its square."""
    return math.sqrt(sum(norm * norm / count for norm, count in zip(norms, held) if norm is not None))


def sums(tensors: Sequence[Tensor]) -> Numbers:
    """The sum of each tensor's values: what tells replicas apart although their norms are nearly the same."""
    return [float(tensor.real.sum(dtype=torch.float64).item()) for tensor in tensors]
