"""Step with another learning rate: that of the script times a factor."""

from __future__ import annotations

from typing import Any

from ..patches import Patches
from . import Used
from .optimizer import scale_rates


def apply(patches: Patches, used: Used, factor: float) -> None:
    def scaled(optimizer: Any, rate: Any) -> Any:
        used()
        return rate * factor

    scale_rates(patches, scaled)
