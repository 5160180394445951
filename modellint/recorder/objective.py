"""The loss as it is meant: what a remedy is judged by, since it may change the loss that is trained on."""

from __future__ import annotations

import inspect
from typing import Any, Dict

from torch import Tensor
from torch.nn import functional

TINY = 1e-7


def objective(function: Any, given: Dict[str, Any], result: Tensor) -> Tensor:
    """The mean of `result`; where the arguments do not fit the function, that of the function that they were made for.

    Probabilities in the place of scores or of log-probabilities are read as what they are, and a target that would be
    broadcast is taken in the shape of the input.
    """
    made, target = given.get("input"), given.get("target")
    if not isinstance(made, Tensor) or not isinstance(target, Tensor) or made.numel() != target.numel():
        return result.detach().mean()
    return _meant(function, given, made.detach(), target.detach(), result.detach()).mean()


def _meant(function: Any, given: Dict[str, Any], made: Tensor, target: Tensor, result: Tensor) -> Tensor:
    plain = inspect.unwrap(function)
    if plain is inspect.unwrap(functional.binary_cross_entropy_with_logits) and _are_shares(made):
        meant: Tensor = functional.binary_cross_entropy(made.clamp(TINY, 1 - TINY).float(), target.float())
        return meant
    if plain is inspect.unwrap(functional.kl_div) and _are_shares(made) and not given.get("log_target"):
        return functional.kl_div(made.clamp_min(TINY).log(), target, reduction="batchmean")
    if made.shape != target.shape:
        matched: Tensor = plain(**{**given, "input": made, "target": target.reshape(made.shape)})
        return matched
    return result


def _are_shares(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())
