"""Which optimizers are given gradients and never step."""

from __future__ import annotations

from collections.abc import Iterator

from .cast import Optimizer
from .run import Run

BACKWARDS = 5  # calls of backward() that have reached the parameters of one that is only late


def never(run: Run) -> Iterator[Optimizer]:
    """Optimizers without a step, whose parameters got gradients again and again and are held by none that steps."""
    stepping = {step.optimizer for step in run.steps}
    made = list(enumerate(run.optimizers))
    held = {name for index, other in made if index in stepping for name in other.parameters}
    for index, optimizer in made if stepping else ():
        reached = (optimizer.backwards or 0) >= BACKWARDS
        if index not in stepping and reached and held.isdisjoint(optimizer.parameters):
            yield optimizer
