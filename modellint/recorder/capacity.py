"""Can the model fit the one batch that it was last given? A hundred small steps on the copy, which is used up by them."""

from __future__ import annotations

import time
from typing import Any, Dict, Optional, Sequence

import torch
from torch import Tensor
from torch.autograd import grad

from .specimen import CannotExamineError, Specimen

RATES = (1e-3, 1e-2)  # of Adam, one after the other from the same weights
STEPS = 100
SECONDS = 2.0  # of this thread, so that other work on the machine does not count
FITS, FAILS = 0.9, 0.98  # of the entropy of the labels: what guessing by their frequency comes to
FEWEST = 4  # rows


def examine(specimen: Specimen, labels: Optional[Tensor]) -> Dict[str, Any]:
    """`found`: at no rate did the cross entropy of the batch get below guessing; `value` is the best, relative to it."""
    if labels is None or int((labels >= 0).sum()) < FEWEST:
        raise CannotExamineError("the loss is not over classes, or the batch too small")
    guessing = _entropy(labels[labels >= 0])
    if not guessing:
        raise CannotExamineError("the last batch holds one class")
    until, best = time.thread_time() + SECONDS, float("inf")
    learned = [parameter for parameter in specimen.model.parameters() if parameter.requires_grad]
    start = [parameter.detach().clone() for parameter in learned]
    for rate in RATES:
        with torch.no_grad():
            for parameter, value in zip(learned, start):
                parameter.copy_(value)
        best = min(best, _fit(specimen, labels, learned, rate, FITS * guessing, until))
        if best < FITS * guessing:
            return {"found": False, "value": best / guessing}
    if best < FAILS * guessing:
        raise CannotExamineError("the loss of one batch falls, and too slowly to tell")
    return {"found": True, "value": best / guessing}


def _fit(
    specimen: Specimen, labels: Tensor, learned: Sequence[Tensor], rate: float, enough: float, until: float
) -> float:
    """The lowest loss on the way, which ends below `enough`."""
    first, second = ([torch.zeros_like(parameter) for parameter in learned] for _ in range(2))
    best = float("inf")
    for step in range(1, STEPS + 1):
        if time.thread_time() > until:
            raise CannotExamineError("it would take more than %g seconds" % SECONDS)
        loss = _loss(specimen, labels)
        best = min(best, loss.item())
        if best < enough or not loss.requires_grad:
            break
        gradients = grad(loss, learned, allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise CannotExamineError("what a copy of the model computes does not depend on the copied weights")
        with torch.no_grad():
            for parameter, gradient, m, v in zip(learned, gradients, first, second):
                if gradient is not None:
                    m.lerp_(gradient, 0.1)
                    v.lerp_(gradient.square(), 0.001)
                    size = (v / (1 - 0.999**step)).sqrt_().add_(1e-8)
                    parameter.sub_(rate * (m / (1 - 0.9**step)) / size)
    return best


def _loss(specimen: Specimen, labels: Tensor) -> Tensor:
    """The mean cross entropy of the rows that have a label."""
    for result in specimen.compute({}):
        rows = result.reshape(-1, result.shape[-1]) if result.dim() else result.reshape(1, 1)
        if len(rows) == len(labels) and rows.shape[1] > int(labels.max()):
            known = labels.to(rows.device) >= 0
            chosen = rows[known].float().log_softmax(-1)
            return -chosen.gather(1, labels.to(rows.device)[known][:, None]).mean()
    raise CannotExamineError("the model's results are not the scores that the loss is given")


def _entropy(labels: Tensor) -> float:
    shares = torch.bincount(labels).float() / len(labels)
    return float(-(shares[shares > 0] * shares[shares > 0].log()).sum())
