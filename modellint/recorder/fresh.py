"""Weights that are still as they were made: drawn from a uniform or a normal distribution, and nothing was loaded."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .patches import Patches, Watch
from .tensors import evenly, is_plain, local

FEWEST = 1000  # elements, for the shape of their distribution to show
SAMPLED = 1 << 16
SURE = 4.0  # standard errors
UNIFORM, NORMAL = (1.8, 2.4), (3.0, math.sqrt(24.0))  # the kurtosis, and its standard error for one element
EDGE = math.sqrt(3.0)  # standard deviations: nothing uniform lies beyond, but for the errors of both mean and deviation


class LoadWatch(Watch):
    """Once anything was loaded, no weight of the process is taken for a fresh one."""

    def apply(self, patches: Patches) -> None:
        patches.around(torch, "load", self._around)
        patches.around(torch.nn.Module, "load_state_dict", self._around)

    def _around(self, original: Any, args: Any, kwargs: Any) -> Any:
        self.recorder.roster.loads = True
        return original(*args, **kwargs)


def is_fresh(weight: Tensor) -> bool:
    """Whether its values are spread as those of torch's initialisations; training gives them longer tails."""
    if not is_plain(weight) or not weight.is_floating_point() or weight.numel() < FEWEST:
        return False
    flat = local(weight).reshape(-1)
    values = flat[evenly(flat.numel(), SAMPLED)].double()
    spread, centre = torch.std_mean(values, correction=0)
    if not float(spread):
        return False
    scores = (values - centre) / spread
    tails, edge = float(scores.pow(4).mean()), float(scores.abs().max())
    error = SURE / math.sqrt(len(values))
    is_centred = abs(float(centre / spread)) < error
    is_uniform = abs(tails - UNIFORM[0]) < error * UNIFORM[1] and edge < EDGE + 2 * error
    return is_centred and (is_uniform or abs(tails - NORMAL[0]) < error * NORMAL[1])
