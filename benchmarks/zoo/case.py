"""One model, what it is called with, and the loss of what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Case:
    model: nn.Module
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    loss: Callable[[Any], Tensor] | None = None
    name: str = ""  # which model of its family

    def step(self) -> Tensor:
        output = self.model(*self.arguments, **self.keywords)
        return (self.loss or squares)(output)


def squares(output: Any) -> Tensor:
    """A number that depends on everything a model returns: a given loss alone, else the mean square of each tensor."""
    given = getattr(output, "loss", None)
    if given is not None:
        return given
    return sum((tensor.float().square().mean() for tensor in _learned(output)), torch.zeros(()))


def classes(output: Any) -> Tensor:
    """Cross entropy of scores, of auxiliary ones too, against the first classes in turn."""
    scores = [tensor for tensor in _learned(output) if tensor.dim() >= 2]
    return sum((functional.cross_entropy(each, labels(each)) for each in scores), torch.zeros(()))


def labels(scores: Tensor) -> Tensor:
    shape = (scores.shape[0], *scores.shape[2:])
    count = int(torch.tensor(shape).prod())
    return (torch.arange(count) % scores.shape[1]).reshape(shape)


def _learned(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.requires_grad and output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from _learned(item)
    elif isinstance(output, (list, tuple)):
        for item in output:
            yield from _learned(item)
