"""What is seen of one optimizer between two of its steps; it stays on the device until the step has been made."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from . import ranks
from .climbs import Climbs
from .tensors import Norms, Numbers, local, number, total

HALF = (torch.bfloat16, torch.float16)
SAMPLED = 1 << 22  # larger parameters are compared on an even sample of about this many elements


class Observation(NamedTuple):
    """What one backward() started from: the loss, by what it was multiplied, and the fields of a Step that it tells."""

    loss: Optional[Tensor]
    scale: Optional[float]
    facts: Dict[str, Any]

    def value(self) -> Optional[float]:
        found = number(self.loss)
        return found / self.scale if found is not None and self.scale else found


class Backward(NamedTuple):
    """One backward() as the optimizer's parameters saw it: gradient norms before and after, the loss scale undone."""

    observation: Observation
    before: Numbers
    after: Numbers


class Window:
    def __init__(self) -> None:
        self._seen: List[Any] = []
        self._answers: List[Tuple[Observation, Norms]] = []
        self._entry: Optional[Norms] = None
        self._climbs = Climbs()
        self._applied: Optional[Norms] = None
        self._old: List[Tensor] = []
        self._sizes: List[float] = []  # the norm of a parameter / that of its sample

    def enter_backward(self, parameters: Sequence[Tensor], gradients: Norms) -> None:
        self._climbs.enter_backward(parameters)
        self._entry = gradients

    def leave_backward(self, observation: Observation, gradients: Norms) -> None:
        """Also when the optimizer was made while backward() ran."""
        self._seen.append((observation, self._entry or gradients, gradients))
        self._entry = None

    def answered(self, observation: Observation, gradients: Norms) -> None:
        self._answers.append((observation, gradients))

    def is_answered(self) -> bool:
        return bool(self._answers) and not self._seen

    def begin_step(self, parameters: Sequence[Tensor], gradients: Optional[Norms]) -> None:
        """Without `gradients`, those of the last backward() are what is applied."""
        self._applied = gradients
        self._old = [_sample(parameter).clone() for parameter in parameters]
        self._sizes = [math.sqrt(local(p).numel() / max(1, old.numel())) for p, old in zip(parameters, self._old)]

    def read_applied(self, gradients: Norms) -> None:
        self._applied = gradients

    def is_armed(self) -> bool:
        return bool(self._old)

    def updates(self, parameters: Sequence[Tensor]) -> Numbers:
        """Each parameter's change since begin_step(), as a norm relative to its norm then; None where that was zero."""
        before = Norms(self._old).values()
        changes = Norms([_sample(parameter) - old for parameter, old in zip(parameters, self._old)]).values()
        return [change / norm if change is not None and norm else None for change, norm in zip(changes, before)]

    def stuck(self, parameters: Sequence[Tensor]) -> Optional[float]:
        """The part of the half-precision elements with a gradient that are as they were at begin_step()."""
        counts: List[Tensor] = []
        for parameter, old in zip(parameters, self._old):
            if old.dtype in HALF and parameter.grad is not None and not parameter.grad.is_sparse:
                due = _sample(parameter.grad) != 0
                counts.append(torch.stack([due.sum(), (due & (_sample(parameter) == old)).sum()]).cpu())
        meant, kept = (sum(column) for column in zip(*(count.tolist() for count in counts))) if counts else (0, 0)
        return kept / meant if meant else None

    def replica(self, world: int, parameters: Sequence[Tensor]) -> Dict[str, Any]:
        """What the other ranks' records are held against, parameter by parameter, and this rank's parts of norms."""
        held = [ranks.copies(parameter, world) for parameter in parameters]
        return {
            "copies": held,
            "norms": Norms(self._old).values(),
            "sums": ranks.sums(self._old),
            "shares_at_backward": [ranks.share(backward.before, held) for backward in self._backwards()],
        }

    def weights(self) -> Numbers:
        """The norms of the parameters at begin_step(), as their samples tell."""
        return [norm if norm is None else norm * size for norm, size in zip(Norms(self._old).values(), self._sizes)]

    def record(self, own_scale: Optional[float]) -> Dict[str, Any]:
        """The fields of a Step that backward() and the gradients tell."""
        backwards = self._backwards()
        reaching = [backward for backward in backwards if backward.before != backward.after] or backwards
        gradients = reaching[-1].after if reaching else []
        applied = _divided(self._applied, own_scale) if self._applied is not None else gradients
        return {
            **_facts(reaching),
            "gradients": gradients,
            "gradients_at_step": applied,
            "gradient_norm": total(gradients) if reaching else None,
            "gradient_norm_at_step": total(applied),
            "norms_at_backward": [total(backward.before) for backward in backwards],
            "backwards": len(reaching),
            "climbs": self._climbs.radii(*self._totals()),
        }

    def _totals(self) -> Tuple[List[float], List[float]]:
        """The norms that each backward() found, and those that it left, as they were."""
        found = [total(before.values()) for _, before, _ in self._seen]
        return found, [total(after.values()) for _, _, after in self._seen]

    def _backwards(self) -> List[Backward]:
        if self.is_answered():
            return list(_handed_out(self._answers))
        return [
            Backward(seen, _divided(before, seen.scale), _divided(after, seen.scale))
            for seen, before, after in self._seen
        ]


def _handed_out(answers: Sequence[Tuple[Observation, Norms]]) -> Iterator[Backward]:
    """Nothing is added up; each parameter has the gradient that was handed out last."""
    latest: Numbers = [None] * len(answers[0][1].values())
    for observation, gradients in answers:
        found = _divided(gradients, observation.scale)
        latest = [old if new is None else new for old, new in zip(latest, found)]
        yield Backward(observation, [None] * len(latest), latest)


def _facts(backwards: Sequence[Backward]) -> Dict[str, Any]:
    """The last backward() speaks for the step, of a loss over classes if there was one; labels are counted over all."""
    if not backwards:
        return {}
    last = next(
        (each for each in reversed(backwards) if "class_loss" in each.observation.facts), backwards[-1]
    ).observation
    counts: Dict[int, int] = {}
    for backward in backwards:
        for label, count in backward.observation.facts.get("label_counts", {}).items():
            counts[label] = counts.get(label, 0) + count
    return {**last.facts, "label_counts": counts, "loss": last.value(), "loss_scale": last.scale}


def _sample(parameter: Tensor) -> Tensor:
    flat = local(parameter).reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLED)]


def _divided(norms: Norms, scale: Optional[float]) -> Numbers:
    return [norm if norm is None or not scale else norm / scale for norm in norms.values()]
