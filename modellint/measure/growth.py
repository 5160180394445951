"""Whether the graphs of a run's losses are let go: how many are still held after each step, and how long they become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from .run import Run
from .trajectory import each_optimizer

STEPS = 6  # fewer tell nothing


def held(run: Run) -> Iterator[tuple[int, ...]]:
    """Of each optimizer with enough steps: the graphs that backward() has gone through and that are still held."""
    series = (tuple(s.graphs_alive for s in steps if s.graphs_alive is not None) for steps in each_optimizer(run))
    yield from (alive for alive in series if len(alive) >= STEPS)


def sizes(run: Run) -> Iterator[tuple[int, ...]]:
    """Of each optimizer with enough steps: the number of operations in the graph of the loss."""
    series = (tuple(s.graph_size for s in steps if s.graph_size is not None) for steps in each_optimizer(run))
    yield from (size for size in series if len(size) >= STEPS)


def grows(values: Sequence[int], times: float = 1.0) -> bool:
    """With every step, and to more than `times` its start."""
    return all(later > earlier for earlier, later in pairwise(values)) and values[-1] > times * values[0]
