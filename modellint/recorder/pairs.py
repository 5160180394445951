"""The two sides of a loss over single numbers, such as mean squares: their shapes, ranges, how many targets are 1."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterable, Optional

from torch import Tensor

from . import inputs
from .tensors import distribution, evenly, is_plain

SAMPLED = 1 << 14  # elements
NAMES = (
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
)
REGRESSIONS = ("mse", "l1", "smooth_l1", "huber")


def facts(given: Any) -> Optional[Dict[str, Any]]:
    """The fields of a Pair, for the arguments of one of the losses above."""
    entered, target = given["input"], given["target"]
    if not (is_plain(entered) and is_plain(target) and entered.numel() and target.numel()):
        return None
    return {
        "input": distribution(entered),
        "target": distribution(target),
        "shape": list(entered.shape),
        "target_shape": list(target.shape),
        "positives": _positives(target),
        "kurtosis": _kurtosis(target),
        "fingerprint": inputs.fingerprint([target]),
    }


def largest(found: Iterable[Optional[Dict[str, Any]]]) -> Optional[Dict[str, Any]]:
    """The pair whose targets have the largest root mean square."""
    return max((pair for pair in found if pair), key=_size, default=None)


def _size(pair: Dict[str, Any]) -> float:
    return math.hypot(pair["target"]["mean"], pair["target"]["std"])


def _positives(target: Tensor) -> Optional[int]:
    """How many targets are 1, where all others are 0."""
    return int((target == 1).sum().item()) if bool(((target == 0) | (target == 1)).all()) else None


def _kurtosis(target: Tensor) -> Optional[float]:
    """3 for normal numbers; of an even sample."""
    flat = target.detach().reshape(-1)
    values = flat[evenly(len(flat), SAMPLED)].double()
    spread = (values - values.mean()).square()
    return float(spread.square().mean() / spread.mean().square()) if float(spread.sum()) else None
