"""Moves of the weights between two calls of backward() of one step: up the gradient, as sharpness-aware training makes them."""

from __future__ import annotations

from typing import List, Optional, Sequence

import torch
from torch import Tensor

from .tensors import is_there, local

SHOWN = 64  # elements of each parameter that are compared
EXACT = 0.01  # part of a move that may lead elsewhere


class Climbs:
    """Of one step: for each backward() how far the weights have been moved straight up the gradient that it found."""

    def __init__(self) -> None:
        self._old: List[Tensor] = []
        self._ways: List[Optional[Tensor]] = []  # the part of the gradient that they were moved by

    def enter_backward(self, parameters: Sequence[Tensor]) -> None:
        held = [p for p in parameters if p.is_floating_point() and p.device == parameters[0].device and is_there(p)]
        new = [_sample(parameter) for parameter in held]
        slopes = [_sample(p.grad) for p in held if p.grad is not None and not p.grad.is_sparse]
        found = len(new) > 1 and len(self._old) == len(slopes) == len(new)
        self._ways.append(_way(self._old, new, slopes) if found else None)
        self._old = new

    def radii(self, found: Sequence[float], left: Sequence[float]) -> List[Optional[float]]:
        """None where there was no such move; the norms are those of the gradients that each backward() found and left.

        Nor where the gradients were scaled before they were added to, for a mean of both, or were cleared later on, when they have
        only shown the way, as in the architecture search of DARTS.
        """
        ways = [0.0 if way is None else way.item() for way in self._ways]
        seen = list(zip(ways, found, [0.0, *left]))
        cleared = max((index for index, (_, norm, _) in enumerate(seen) if not norm), default=-1)
        return [
            way * norm if index > cleared and way > 0 and norm == before else None
            for index, (way, norm, before) in enumerate(seen)
        ]


def _way(old: Sequence[Tensor], new: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """The factor k of `new - old = k * gradient`, one for all parameters; 0 where there is none."""
    move, slope = torch.cat(list(new)) - torch.cat(list(old)), torch.cat(list(gradients))
    factor = (move @ slope) / (slope @ slope).clamp_min(1e-30)
    rest = (move - factor * slope).norm()
    return torch.where(rest <= EXACT * move.norm(), factor, torch.zeros_like(factor))


def _sample(tensor: Tensor) -> Tensor:
    flat = local(tensor).reshape(-1)
    return flat[:: max(1, flat.numel() // SHOWN)][:SHOWN].float().clone()
