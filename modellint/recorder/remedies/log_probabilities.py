"""Give a loss that asks for log-probabilities the logarithm of what it was given."""

from __future__ import annotations

import torch

from ..patches import Patches
from . import Used
from .loss import Given, around_losses, class_dimension, sums_to_one


def apply(patches: Patches, used: Used) -> None:
    def logarithmic(given: Given) -> None:
        scores = given["input"]
        dim = class_dimension(scores)
        if sums_to_one(scores, dim):
            given["input"] = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
            used()
        elif not sums_to_one(scores.exp(), dim):
            given["input"] = scores.log_softmax(dim)
            used()

    around_losses(patches, ("nll_loss", "kl_div"), logarithmic)
