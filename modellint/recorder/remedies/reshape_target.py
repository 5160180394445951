"""Give the target the shape of what it is compared with, where a loss would broadcast the two."""

from __future__ import annotations

from torch import Tensor

from ..patches import Patches
from . import Used
from .loss import Given, around_losses

LOSSES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def apply(patches: Patches, used: Used) -> None:
    def reshape(given: Given) -> None:
        made, target = given["input"], given["target"]
        if isinstance(target, Tensor) and made.shape != target.shape and made.numel() == target.numel():
            given["target"] = target.reshape(made.shape)
            used()

    around_losses(patches, LOSSES, reshape)
