"""The rows of a loss over classes: predictions, labels, cross entropy, statistics of the logits; in bounded memory."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, Optional, Tuple

import torch
from torch import Tensor

from .tensors import evenly

CHUNK = 1 << 24  # elements that are widened to float32 at once
FEWEST = 8  # rows of a square that tell samples held against each other from classes
SHOWN = 4096  # predictions and labels that are kept


class Rows:
    """Sums over the rows of one class loss, ignored labels left out. `logits` is [N, C], `labels` is [N]."""

    def __init__(self, logits: Tensor, labels: Tensor, ignore_index: Optional[int]) -> None:
        self.classes = logits.shape[-1]
        kept = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
        self.labels, self._kept = labels[kept].cpu(), kept.cpu()
        self.predictions = torch.empty_like(self.labels)
        self.loss = 0.0
        self.surprise = 0.0  # -log of the label's score: the loss where scores are probabilities
        self.sums_to_one = self.are_logarithms = True
        self.meets_itself = is_own_square(logits)
        self.low, self.high = float("inf"), float("-inf")
        self._tolerance = 1e-4 if logits.dtype in (torch.float32, torch.float64) else 1e-2
        self._sum: Any = 0.0
        self._squares: Any = 0.0
        self._pivot: Any = None
        done = 0
        for part, part_labels in _chunks(logits, labels, kept):
            self.predictions[done : done + len(part)] = part.argmax(-1).cpu()
            self._add(part, part_labels)
            done += len(part)

    def _add(self, part: Tensor, labels: Tensor) -> None:
        if not len(part):
            return
        inside = labels.clamp(0, self.classes - 1)  # a label out of range is the user's fault, not ours to crash on
        self.loss -= part.log_softmax(-1).gather(-1, inside[:, None]).sum().item()
        if self.sums_to_one:
            self.surprise -= part.gather(-1, inside[:, None]).clamp_min(1e-30).log().sum().item()
        low, high = part.aminmax()
        self.low, self.high = min(self.low, low.item()), max(self.high, high.item())
        if math.isnan(low.item()):  # nan is neither smaller nor larger
            self.low = self.high = float("nan")
        self.sums_to_one = self.sums_to_one and low.item() >= 0 and self._near_one(part)
        self.are_logarithms = self.are_logarithms and self._near_zero(part.logsumexp(-1))
        self._pivot = part[0].clone() if self._pivot is None else self._pivot
        shifted = part - self._pivot  # identical rows then have a spread of exactly zero
        self._sum = self._sum + shifted.sum(0).double().cpu()
        self._squares = self._squares + shifted.square().sum(0).double().cpu()

    def _near_one(self, part: Tensor) -> bool:
        return self._near_zero(part.sum(-1) - 1)

    def _near_zero(self, values: Tensor) -> bool:
        return bool(values.abs().max().item() < self._tolerance)

    def every_label(self) -> Tensor:
        """[N], with -1 for the rows that the loss ignores."""
        return torch.full(self._kept.shape, -1, device="cpu").masked_scatter(self._kept, self.labels.long())

    def facts(self) -> Dict[str, Any]:
        """The fields of a Step that come from its class loss."""
        count = len(self.labels)
        if not count:
            return {"rows": 0}
        shown = evenly(count, SHOWN)
        values, repeats = torch.unique(self.labels, return_counts=True)
        return {
            "class_loss": self.loss / count,
            "objective": (self.surprise if self.sums_to_one else self.loss) / count,
            "rows": count,
            "predictions": self.predictions[shown].tolist(),
            "labels": self.labels[shown].tolist(),
            "label_counts": dict(zip(values.tolist(), repeats.tolist())),
            "logits": self._logits(count),
        }

    def _logits(self, count: int) -> Dict[str, Any]:
        means = self._sum / count
        variances = (self._squares / count - means.square()).clamp_min(0)
        centres = means + self._pivot.double().cpu()
        variance = variances.mean() + centres.var(correction=0)
        values = {"mean": centres.mean().item(), "std": variance.sqrt().item(), "min": self.low, "max": self.high}
        return {
            "rows": count,
            "classes": self.classes,
            "values": values,
            "spread": variances.sqrt().mean().item(),
            "rows_sum_to_one": self.sums_to_one,
            "log_probabilities": self.are_logarithms,
            "meets_itself": self.meets_itself,
        }


def is_own_square(logits: Tensor) -> bool:
    """Whether rows and columns are the same samples: symmetric, with one number all along the diagonal, the largest of all."""
    count = len(logits)
    if logits.shape[-1] != count or not FEWEST <= count <= math.isqrt(CHUNK):
        return False
    values = logits.float()
    own, others = (
        values.diagonal(),
        values.masked_fill(torch.eye(count, dtype=torch.bool, device=values.device), -math.inf),
    )
    slack = (1e-4 if logits.dtype in (torch.float32, torch.float64) else 1e-2) * own.abs().max()
    symmetric, constant = (values - values.T).abs().max() <= slack, own.max() - own.min() <= slack
    return bool(symmetric & constant & (others.max() < own.min() - slack))


def _chunks(logits: Tensor, labels: Tensor, kept: Tensor) -> Iterator[Tuple[Tensor, Tensor]]:
    size = max(1, CHUNK // logits.shape[-1])
    for begin in range(0, len(logits), size):
        chosen = kept[begin : begin + size]
        yield logits[begin : begin + size][chosen].float(), labels[begin : begin + size][chosen]


def flat(logits: Tensor, target: Tensor) -> Optional[Tuple[Tensor, Tensor]]:
    """[N, C] and [N] from any shapes that cross entropy takes, or None; soft labels become the likeliest one."""
    if target.is_floating_point():
        target = target.argmax(1 if target.dim() > 1 else 0)
    if logits.dim() == 1:
        logits, target = logits[None], target.reshape(1)
    elif logits.dim() > 2:
        logits = logits.movedim(1, -1).reshape(-1, logits.shape[1])
    target = target.reshape(-1)
    return (logits, target) if logits.dim() == 2 and len(logits) == len(target) else None
