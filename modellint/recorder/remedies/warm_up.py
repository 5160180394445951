"""Let the learning rate rise from nearly nothing to that of the script, over the first steps of each optimizer."""

from __future__ import annotations

import weakref
from typing import Any

from ..patches import Patches
from . import Used
from .optimizer import scale_rates


def apply(patches: Patches, used: Used, steps: int) -> None:
    done: Any = weakref.WeakKeyDictionary()

    def risen(optimizer: Any, rate: Any) -> Any:
        used()
        done[optimizer] = done.get(optimizer, 0) + 1
        groups = len(optimizer.param_groups)
        return rate * min(1.0, ((done[optimizer] - 1) // groups + 1) / steps)

    scale_rates(patches, risen)
