"""How a run's losses and gradient norms develop over its steps: what several rules ask of a Run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint.core.record import dataclass

from .run import Run
from .statistics import entropy, median, norm, shares
from .step import Step

FIRST, LAST = 3, 5  # steps that stand for the beginning and for the end of a probe
GROWTH = 50.0  # no healthy run of 129 grew so far beyond its first steps
DIVERGED = 1.5  # times the cross entropy of guessing


@dataclass(frozen=True, slots=True)
class Explosion:
    """Gradients of one part of the model that outgrow those of the first steps while the loss does not fall."""

    part: str  # the role: "readout" or "representation"; "model" where parameters were not told apart
    series: tuple[float | None, ...]
    start: float
    peak: float
    parameter: str | None  # the one with the largest gradient at the peak


def each_optimizer(run: Run) -> Iterator[tuple[Step, ...]]:
    """The steps of each optimizer, which are a trajectory of their own."""
    yield from map(run.of, sorted({step.optimizer for step in run.steps}))


def losses(steps: Sequence[Step]) -> tuple[float, ...]:
    """The class losses where there are any, else the losses as they were."""
    classed = tuple(step.class_loss for step in steps if step.class_loss is not None)
    return classed or tuple(step.loss for step in steps if step.loss is not None)


def falls(values: Sequence[float]) -> bool:
    """The median of the last losses lies below the first loss."""
    return len(values) > 1 and median(values[-LAST:]) < values[0]


def no_better_than_guessing(run: Run, steps: Sequence[Step]) -> bool:
    """The last losses are not below the entropy of the labels; without classes, not below the first loss."""
    classed = [step.class_loss for step in steps if step.class_loss is not None]
    if not classed or not run.label_counts:
        return bool(losses(steps)) and not falls(losses(steps))
    return median(classed[-LAST:]) >= entropy(shares(run.label_counts))


def warms_up(steps: Sequence[Step]) -> bool:
    """Whether the rate still rises in the second half of the steps."""
    rates = [step.learning_rate for step in steps if step.learning_rate is not None]
    return bool(rates) and 2 * rates.index(max(rates)) >= len(rates)


def diverged(run: Run, steps: Sequence[Step]) -> bool:
    """The class loss ends far above both its start and the cross entropy of guessing: 1.5 max(first, ln C)."""
    classed = [step.class_loss for step in steps if step.class_loss is not None]
    if not classed or not run.classes:
        return False
    return median(classed[-LAST:]) > DIVERGED * max(classed[0], math.log(run.classes))


def growth(steps: Sequence[Step]) -> float:
    """The median of the last losses over the first one."""
    values = losses(steps)
    return median(values[-LAST:]) / values[0] if values and values[0] > 0 else 0.0


def peak(run: Run, steps: Sequence[Step]) -> float:
    """The highest class loss after the first, in units of the higher of the first one and that of guessing."""
    classed = [step.class_loss for step in steps if step.class_loss is not None]
    return max(classed[1:], default=0.0) / max(classed[0], math.log(run.classes)) if classed and run.classes else 0.0


def explosions(run: Run, growth: float = GROWTH) -> Iterator[Explosion]:
    """The parts of the model whose gradients explode, whichever optimizer holds them."""
    for steps in each_optimizer(run):
        yield from exploding(run, steps, growth)


def exploding(run: Run, steps: Sequence[Step], growth: float = GROWTH) -> Iterator[Explosion]:
    """Of one optimizer: parts with a norm above `growth` times the median of the first three, if no loss falls.

    A run that diverges in its first update has no calm third step, so it is held against its first step alone. The first
    norm outgrows nothing: a critic whose weights are clamped after its first step begins with its largest gradient.
    """
    if falls(losses(steps)):
        return
    for part, names in parts(run, steps).items():
        series = norms(steps, names)
        start = reference(series, diverged(run, steps))
        peak = max((n for n in series[1:] if n is not None and math.isfinite(n)), default=0.0)
        if start and peak > growth * start:
            yield Explosion(part, series, start, peak, _largest(steps[series.index(peak)], names))


def parts(run: Run, steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Parameter names by role; one part without names where no parameter's gradient was measured."""
    measured = dict.fromkeys(name for step in steps for name in step.gradients)
    roles = {parameter.name: parameter.role for parameter in run.parameters}
    if not measured:
        return {"model": ()}
    return {
        role: tuple(name for name in measured if roles.get(name, "representation") == role)
        for role in sorted({roles.get(name, "representation") for name in measured})
    }


def norms(steps: Sequence[Step], names: Sequence[str] = ()) -> tuple[float | None, ...]:
    """The gradient norm before clipping at each step, over `names` or over all that the optimizer holds."""
    return tuple(_norm(step, names) if names else step.gradient_norm for step in steps)


def reference(series: Sequence[float | None], from_first_step: bool = False) -> float | None:
    """The norm that later norms are compared with; zeros (of a zero-initialised readout) are no reference."""
    early = [n for n in series[:FIRST] if n is not None and math.isfinite(n) and n > 0]
    if not early:
        return None
    return min(early[0], median(early)) if from_first_step else median(early)


def _norm(step: Step, names: Sequence[str]) -> float | None:
    measured = [g for g in (step.gradients.get(name) for name in names) if g is not None]
    return norm(measured) if measured else None


def _largest(step: Step, names: Sequence[str]) -> str | None:
    return max(names, key=lambda name: step.gradients.get(name) or 0.0, default=None)
