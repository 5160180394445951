"""One optimizer and where it is in its cycle of backward(), step() and zero_grad()."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Dict, Iterable, List, Optional

from torch import Tensor

from . import ranks
from .followers import Followers
from .tensors import Norms, Numbers, number
from .window import Observation, Window

SEARCHED = 4  # optimizers that followers are looked for: it costs a search of all objects


class Bare:
    """Stands for an optimizer where there is none: parameters that are only differentiated, or stepped by hand."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.param_groups: List[Dict[str, Any]] = [{"params": list(parameters)}]


class Track:
    """The state of one optimizer, which is held weakly; `done` counts its steps, `taken` those of the present window."""

    def __init__(self, index: int, optimizer: Any) -> None:
        self.index, self.done, self.taken = index, 0, 0
        self.backwards = 0  # calls of backward() that gave its parameters a gradient
        self.fresh = False  # a backward() came since the last step() or zero_grad()
        self.applied = False  # the optimizer has stepped on the present gradients
        self._optimizer = weakref.ref(optimizer)
        self._window = Window()
        self._followers: Optional[Followers] = None  # looked for when the first step has been made

    def is_of(self, optimizer: Any) -> bool:
        return self._optimizer() is optimizer

    def is_bare(self) -> bool:
        return isinstance(self._optimizer(), Bare)

    def is_alive(self) -> bool:
        return self._optimizer() is not None

    def is_armed(self) -> bool:
        """Whether begin_step() was called in this window."""
        return self._window.is_armed()

    def groups(self) -> List[Dict[str, Any]]:
        return getattr(self._optimizer(), "param_groups", [])

    def parameters(self) -> List[Tensor]:
        return [parameter for group in self.groups() for parameter in group["params"]]

    def decays(self) -> Dict[int, float]:
        """The weight decay of each parameter, by its id."""
        pairs = (
            (parameter, number(group.get("weight_decay"))) for group in self.groups() for parameter in group["params"]
        )
        return {id(parameter): decay for parameter, decay in pairs if decay}

    def numbers(self, numbering: Callable[[Tensor], int]) -> List[int]:
        return [numbering(parameter) for parameter in self.parameters()]

    def shares(self, parameters: Iterable[Tensor]) -> bool:
        ids = {id(parameter) for parameter in self.parameters()}
        return any(id(parameter) in ids for parameter in parameters)

    def describe(self) -> Dict[str, Any]:
        """Class, learning rate and the plain settings of the first group: weight decay, momentum, betas, ..."""
        group = {key: list(value) if isinstance(value, tuple) else value for key, value in self.groups()[0].items()}
        known = {
            key: value
            for key, value in group.items()
            if key not in ("params", "lr") and isinstance(value, (bool, int, float, str, list))
        }
        return {"name": type(self._optimizer()).__name__, "learning_rate": self._rate(), "settings": known}

    def _rate(self) -> Optional[float]:
        rates = [number(group.get("lr")) for group in self.groups()]
        return max((rate for rate in rates if rate is not None), default=None)

    def _rounds(self) -> bool:
        """Others may round at random, or keep what rounding takes away."""
        return type(self._optimizer()).__module__.startswith("torch.optim.")

    def gradients(self) -> Norms:
        return Norms([parameter.grad for parameter in self.parameters()])

    def count(self) -> None:
        self.done, self.taken = self.done + 1, self.taken + 1

    def cleared(self) -> None:
        self.fresh = self.applied = False

    def enter_backward(self) -> None:
        self._window.enter_backward(self.parameters(), self.gradients())

    def leave_backward(self, observation: Observation) -> None:
        self._window.leave_backward(observation, self.gradients())
        self.fresh, self.applied = True, False
        self.backwards += any(parameter.grad is not None for parameter in self.parameters())

    def is_about(self, tensors: Iterable[Tensor]) -> bool:
        """Whether most of its parameters are among them."""
        wanted = {id(tensor) for tensor in tensors}
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad or self.is_bare()]
        return 2 * sum(id(parameter) in wanted for parameter in trained) > len(trained)

    def answered(self, observation: Observation, given: Dict[int, Optional[Tensor]]) -> None:
        """Gradients were handed out, by the id of the parameter, and not added to any `.grad`."""
        self._window.answered(observation, Norms([given.get(id(parameter)) for parameter in self.parameters()]))
        self.fresh, self.applied = True, False
        self.backwards += 1

    def is_answered(self) -> bool:
        """Whether nothing but what was handed out may have made this step."""
        return self._window.is_answered()

    def begin_step(self) -> None:
        handed_out = self.is_bare() and self.is_answered()
        self._window.begin_step(self.parameters(), None if handed_out else self.gradients())
        if self._followers is not None:
            self._followers.begin_step()

    def read_applied(self) -> None:
        self._window.read_applied(self.gradients())

    def updates(self) -> Numbers:
        return self._window.updates(self.parameters())

    def replica(self) -> Dict[str, Any]:
        """Of the step that is being recorded, where several processes train together."""
        standing = ranks.standing()
        if standing is None:
            return {}
        return {"ranks": {**standing, **self._window.replica(standing["world"], self.parameters())}}

    def _followed(self) -> List[Dict[str, Any]]:
        if self._followers is None:
            self._followers = Followers(self.parameters() if self.index < SEARCHED else [])
        return list(self._followers.end_step())

    def end_step(self, skipped: bool, numbering: Callable[[Tensor], int]) -> Dict[str, Any]:
        """The record of the step; the next window is open when it returns."""
        fused = number(getattr(self._optimizer(), "grad_scale", None))  # undoes the loss scale itself, within its step
        record = {
            "kind": "step",
            "optimizer": self.index,
            "index": self.done,
            **self._window.record(fused),
            "updates": [] if skipped else self.updates(),
            "weights": self._window.weights(),
            "stuck": self._window.stuck(self.parameters()) if self._rounds() and not skipped else None,
            "learning_rate": self._rate(),
            "skipped": skipped,
            "parameters": self.numbers(numbering),
            "followers": self._followed(),
            **self.replica(),
        }
        self._window = Window()
        self.count()
        self.fresh, self.applied = False, not skipped
        return record
