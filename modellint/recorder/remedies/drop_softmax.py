"""Undo a softmax or sigmoid before a loss that applies its own: the loss is given scores that mean the same."""

from __future__ import annotations

import torch

from ..patches import Patches
from . import Used
from .loss import Given, around_losses, class_dimension, sums_to_one


def apply(patches: Patches, used: Used) -> None:
    def undo_softmax(given: Given) -> None:
        scores = given["input"]
        if sums_to_one(scores, class_dimension(scores)):
            given["input"] = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
            used()

    def undo_sigmoid(given: Given) -> None:
        scores = given["input"]
        if bool(((scores.detach() >= 0) & (scores.detach() <= 1)).all()):
            given["input"] = torch.logit(scores, eps=1e-6)
            used()

    around_losses(patches, ("cross_entropy",), undo_softmax)
    around_losses(patches, ("binary_cross_entropy_with_logits",), undo_sigmoid)
