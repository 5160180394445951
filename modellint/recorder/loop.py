"""Ordinary training steps on one batch, under a recorder: what a target and an in-process probe run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, Optional

import torch

from .session import Recorder
from .tensors import quiet
from .track import Bare

Loss = Optional[Callable[..., Any]]


class LossError(TypeError):
    """What a target trains on cannot be differentiated."""


def train(recorder: Recorder, model: torch.nn.Module, batch: Any, loss: Loss, optimizer: Any) -> None:
    """`recorder.steps` steps of zero_grad, forward, loss, backward, step; without optimizer a forward and backward."""
    if optimizer is None:
        differentiate(recorder, model, batch, loss)
        return
    recorder.track_of(optimizer)
    for _ in range(recorder.steps):
        optimizer.zero_grad()
        loss_of(model, batch, loss).backward()
        optimizer.step()


def differentiate(recorder: Recorder, model: torch.nn.Module, batch: Any, loss: Loss) -> None:
    """One forward and backward; the record is that of a step which applies nothing."""
    bare = Bare(parameter for parameter in model.parameters() if parameter.requires_grad)
    track = recorder.add(bare)
    loss_of(model, batch, loss).backward()
    with quiet():
        recorder.write(track.end_step(False, recorder.roster.number))
    recorder.end("steps")


def loss_of(model: torch.nn.Module, batch: Any, loss: Loss) -> Any:
    """The loss of a batch: (inputs, targets) for a loss function, or keyword arguments of a model that returns it."""
    if loss is None:
        result = model(**batch)
        found = result.get("loss") if isinstance(result, Mapping) else getattr(result, "loss", None)
    else:
        inputs, targets = batch
        found = loss(called(model, inputs), targets)
    if not isinstance(found, torch.Tensor) or found.numel() != 1:
        kind = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise LossError("the loss has to be a tensor of one number; it is %s" % kind)
    return found


def called(model: torch.nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)
