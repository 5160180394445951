"""A model in this process to a report: some training steps under the recorder, after which everything is as before."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .assertions import ProbeReport
from .core.record import dataclass
from .recording import Recording

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Target:
    """What `--target pkg.module:factory` may return: one ordinary training step, ready to run.

    `batch` is `(inputs, targets)`, tensors of shapes [B, ...] on the model's device: the step computes
    `loss(model(inputs), targets)`, a tensor of one element; inputs that are a tuple or a mapping are unpacked.
    Without a `loss`, `batch` is a mapping and the model returns its loss: `model(**batch).loss`, or `["loss"]`.
    Without an `optimizer` one forward and backward are made.
    """

    model: torch.nn.Module
    batch: Any
    loss: Callable[..., torch.Tensor] | None = None
    optimizer: torch.optim.Optimizer | None = None


def probe(
    model: torch.nn.Module,
    batch: Any,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    steps: int = 10,
) -> ProbeReport:
    """Train `model` on `batch` for some steps under hooks and report what was measured and what its graph shows.

    `batch`, `loss_fn` and `optimizer` are those of a `Target`. With an optimizer, `steps` times zero_grad, forward,
    loss, backward and step are made on the same batch, without it a single forward and backward. No source is read.

    Parameters, buffers, gradients, modes, the optimizer and torch's random state are as before when it returns or
    raises; Python's and NumPy's random states and what a model keeps besides are not put back.

    Raises what the model, the loss or the optimizer raise; TypeError if the loss is no tensor that can be
    differentiated; UsageError if `pyproject.toml` cannot be read.
    """
    from .recorder import loop

    with _unchanged(model, optimizer), Recording(steps, model, source=False) as recording:
        loop.train(recording.recorder, model, batch, loss_fn, optimizer)
    return recording.report()


@contextlib.contextmanager
def _unchanged(model: torch.nn.Module, optimizer: torch.optim.Optimizer | None) -> Iterator[None]:
    import torch

    tensors = [*model.parameters(), *model.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [None if tensor.grad is None else tensor.grad.clone() for tensor in tensors]
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(optimizer.state_dict()) if optimizer else None
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value, gradient in zip(tensors, values, gradients, strict=True):
                    tensor.copy_(value)
                    tensor.grad = gradient
            for module, mode in zip(model.modules(), modes, strict=True):
                module.training = mode
            if optimizer and state is not None:
                optimizer.load_state_dict(state)
