"""Draw the samples of data loaders in random order, where they come in that of the data set."""

from __future__ import annotations

from typing import Any

from torch.utils import data

from ..patches import Patches
from . import Used


def apply(patches: Patches, used: Used) -> None:
    def shuffled(original: Any, args: Any, kwargs: Any) -> None:
        taken = len(args) > 2 or any(kwargs.get(name) for name in ("shuffle", "sampler", "batch_sampler"))
        if not taken and kwargs.get("batch_size", 1) is not None and hasattr(args[1], "__getitem__"):
            kwargs = {**kwargs, "shuffle": True}
            used()
        original(*args, **kwargs)

    patches.around(data.DataLoader, "__init__", shuffled)
