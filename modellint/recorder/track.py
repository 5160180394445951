"""One optimizer's window: what was seen between two of its steps, kept on the device until the step has been made."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from torch import Tensor

from .tensors import Norms, Numbers, local, total

SAMPLED = 1 << 22  # larger parameters are compared on an even sample of about this many elements


class Observation(NamedTuple):
    """What one backward() started from."""

    loss: Optional[Tensor]
    scale: Optional[float]
    facts: Dict[str, Any]


class Backward(NamedTuple):
    """One backward() as one optimizer's parameters saw it."""

    observation: Observation
    entry: Norms
    exit: Norms


class Bare:
    """Stands for an optimizer where there is none: parameters that are only differentiated."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.param_groups: List[Dict[str, Any]] = [{"params": list(parameters)}]


class Track:
    """The state of one optimizer; `done` counts its finished steps."""

    def __init__(self, index: int, optimizer: Any) -> None:
        self.index, self.done = index, 0
        self._optimizer = weakref.ref(optimizer)
        self.fresh = False  # a backward() came since the last step() or zero_grad()
        self.applied = False  # the optimizer has stepped on the present gradients
        self.reached = False  # some backward() gave its parameters a gradient
        self._open()

    def _open(self) -> None:
        self._backwards: List[Backward] = []
        self._entry: Optional[Norms] = None
        self._applied: Optional[Norms] = None
        self._before: List[Tensor] = []
        self._rate: Optional[float] = None

    def is_of(self, optimizer: Any) -> bool:
        return self._optimizer() is optimizer

    def is_bare(self) -> bool:
        return isinstance(self._optimizer(), Bare)

    def is_alive(self) -> bool:
        return self._optimizer() is not None

    def groups(self) -> List[Dict[str, Any]]:
        return getattr(self._optimizer(), "param_groups", [])

    def parameters(self) -> List[Tensor]:
        return [parameter for group in self.groups() for parameter in group["params"]]

    def numbers(self, number: Callable[[Tensor], int]) -> List[int]:
        return [number(parameter) for parameter in self.parameters()]

    def shares(self, parameters: Iterable[Tensor]) -> bool:
        ids = {id(parameter) for parameter in self.parameters()}
        return any(id(parameter) in ids for parameter in parameters)

    def describe(self) -> Dict[str, Any]:
        """Class, learning rate and the scalar settings of the first group: weight decay, momentum, betas, ..."""
        group = {**self.groups()[0]}
        group.pop("params")
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in group.items() if key != "lr"}
        known = {key: value for key, value in plain.items() if isinstance(value, (bool, int, float, str, list))}
        return {"name": type(self._optimizer()).__name__, "learning_rate": number(group.get("lr")), "settings": known}

    def cleared(self) -> None:
        self.fresh = self.applied = False

    def gradients(self) -> Norms:
        return Norms([parameter.grad for parameter in self.parameters()])

    def enter_backward(self) -> None:
        self._entry = self.gradients()

    def leave_backward(self, observation: Observation) -> None:
        if self._entry is not None:
            self._backwards.append(Backward(observation, self._entry, self.gradients()))
            self._entry, self.fresh, self.applied = None, True, False
            self.reached = self.reached or any(parameter.grad is not None for parameter in self.parameters())

    def begin_step(self) -> None:
        self._rate = number(self.groups()[0].get("lr"))
        self.read_applied()
        self._before = [_sample(parameter).clone() for parameter in self.parameters()]

    def read_applied(self) -> None:
        self._applied = self.gradients()

    def end_step(self, skipped: bool, numbering: Callable[[Tensor], int]) -> Dict[str, Any]:
        """The record of the step; the next window is open when it returns."""
        record = {**self._record(skipped), "parameters": self.numbers(numbering)}
        self._open()
        self.done += 1
        self.fresh, self.applied = False, not skipped
        return record

    def _record(self, skipped: bool) -> Dict[str, Any]:
        backwards = [(b, b.entry.values(), b.exit.values()) for b in self._backwards]
        reaching = [b for b, before, after in backwards if before != after] or self._backwards
        last = reaching[-1] if reaching else None
        scale = last.observation.scale if last else None
        gradients = _divided(last.exit.values(), scale) if last else []
        applied = _divided(self._applied.values(), self._own_scale()) if self._applied else []
        if all(norm is None for norm in applied):
            applied = gradients  # a closure made them within the step
        facts = last.observation.facts if last else {}
        entries = [total(_divided(entry, b.observation.scale)) for b, entry, _ in backwards]
        return {
            "kind": "step",
            "optimizer": self.index,
            "index": self.done,
            **facts,
            "label_counts": _sum_counts([b.observation.facts for b in reaching]),
            "loss": _loss(last.observation) if last else None,
            "gradients": gradients,
            "gradients_at_step": applied,
            "gradient_norm": total(gradients),
            "gradient_norm_at_step": total(applied),
            "updates": [] if skipped else self._updates(),
            "norms_at_backward": [norm or 0.0 for norm in entries],
            "backwards": len(reaching),
            "learning_rate": self._rate,
            "loss_scale": scale,
            "skipped": skipped,
        }

    def _own_scale(self) -> Optional[float]:
        """Fused optimizers undo the loss scale themselves, within their step."""
        return number(getattr(self._optimizer(), "grad_scale", None))

    def _updates(self) -> Numbers:
        pairs = list(zip(self.parameters(), self._before))
        before = Norms([old for _, old in pairs]).values()
        changes = Norms([_sample(parameter) - old for parameter, old in pairs]).values()
        return [change / norm if change is not None and norm else None for change, norm in zip(changes, before)]


def _sample(parameter: Tensor) -> Tensor:
    flat = local(parameter).reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLED)]


def _divided(norms: Numbers, scale: Optional[float]) -> Numbers:
    return [norm if norm is None or not scale else norm / scale for norm in norms]


def _loss(observation: Observation) -> Optional[float]:
    value = number(observation.loss)
    return value if value is None or not observation.scale else value / observation.scale


def number(value: Any) -> Optional[float]:
    if isinstance(value, Tensor):
        return float(value.item()) if value.numel() == 1 else None
    return float(value) if isinstance(value, (int, float)) else None


def _sum_counts(facts: Iterable[Dict[str, Any]]) -> Dict[int, int]:
    counts: Dict[int, int] = {}
    for fact in facts:
        for label, count in fact.get("label_counts", {}).items():
            counts[label] = counts.get(label, 0) + count
    return counts
