"""How far each step moves the weights, as a part of themselves, and whether that is too far."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

from .run import Run
from .statistics import median
from .step import Step
from .trajectory import exploding, no_better_than_guessing

EARLY = slice(2, 10)  # later, weights that have grown hide a learning rate that is too high
MATRICES = 2  # a single matrix has a closed solution nearby, and may leap


def ratios(run: Run, steps: Sequence[Step]) -> tuple[float | None, ...]:
    """At each step the median over the weight matrices of (norm of the update) / (norm of the weight).

    Zero-initialised matrices are left out: their first update is infinitely large.
    """
    names = {p.name for p in run.parameters if p.is_weight and not p.zero_initialised}
    return tuple(_typical(step, names) for step in steps)


def early(series: Sequence[float | None]) -> float | None:
    """The median over steps 3 to 10; None if fewer than three of them were measured."""
    measured = [ratio for ratio in series[EARLY] if ratio is not None]
    return median(measured) if len(measured) > 2 else None


def largest(step: Step, grown: Container[str] = ()) -> float | None:
    """The largest update of a tensor that has a gradient, as a part of its norm; None if none was measured.

    `grown` are left out: what began at zero is small at first, however little it moves.
    """
    given = {name: ratio for name, ratio in step.updates.items() if step.gradients.get(name) and name not in grown}
    measured = [ratio for ratio in given.values() if ratio is not None]
    return max(measured, default=None)


def too_large(run: Run, steps: Sequence[Step], limit: float) -> bool:
    """The updates exceed `limit`, do not learn, and are no consequence of gradients that exploded before them."""
    series = ratios(run, steps)
    typical = early(series)
    if typical is None or typical <= limit or not no_better_than_guessing(run, steps):
        return False
    peaks = [found.series.index(found.peak) for found in exploding(run, steps)]
    return not any(all((ratio or 0.0) <= limit for ratio in series[:peak]) for peak in peaks)


def _typical(step: Step, names: set[str]) -> float | None:
    measured = [r for name, r in step.updates.items() if name in names and r is not None and math.isfinite(r)]
    return None if len(measured) < MATRICES or step.skipped else median(measured)
