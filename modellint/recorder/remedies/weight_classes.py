"""Weight a loss over classes by the inverse frequency of its labels."""

from __future__ import annotations

from typing import Any, Dict

import torch

from ..patches import Patches
from . import Used
from .loss import Given, around_losses, class_dimension


def apply(patches: Patches, used: Used, counts: Dict[str, int], classes: int) -> None:
    """`counts` of the labels by class; a class that was not seen counts as seen once."""
    seen = torch.tensor([max(counts.get(str(index), 0), 1) for index in range(classes)], dtype=torch.float32)
    weights = seen.sum() / (classes * seen)

    def weighted(given: Given) -> None:
        scores: Any = given["input"]
        if given.get("weight") is None and scores.shape[class_dimension(scores)] == classes:
            given["weight"] = weights.to(scores.device, scores.dtype)
            used()

    around_losses(patches, ("cross_entropy", "nll_loss"), weighted)
