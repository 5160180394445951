"""A number over the steps, as a line in a frame of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from modellint.core.record import dataclass
from modellint.measure.run import Run
from modellint.measure.step import Step
from modellint.report.numbers import quantity

from .scale import Scale

WIDTH, HEIGHT = 600.0, 160.0  # of the plotted area, in units of the drawing

Value = Callable[[Step], float | None]


@dataclass(frozen=True, slots=True)
class Curve:
    """`parts` are stretches of points without a gap; `breaks` the places of steps that were not finite."""

    title: str
    values: tuple[tuple[int, str], ...]  # each step and its number, in words
    parts: tuple[tuple[tuple[float, float], ...], ...]
    breaks: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool
    bound: float | None = None
    bound_text: str = ""

    @property
    def table(self) -> tuple[tuple[int, str], ...]:
        return tuple((step + 1, text) for step, text in self.values)


def curves(run: Run, optimizer: int) -> Iterator[Curve]:
    """Loss, accuracy, scale and rank of the features: those that were measured."""
    steps = run.of(optimizer)
    guess = math.log(run.classes) if run.classes else None
    wanted: tuple[tuple[str, Value, str, float | None, str], ...] = (
        ("Loss", lambda step: step.loss, "", guess if _is_class_loss(steps) else None, "guessing, ln C"),
        ("Cross entropy, neither weighted nor smoothed", _class_loss, "", guess, "guessing, ln C"),
        ("Accuracy in the batch", lambda step: step.accuracy, "fraction", None, ""),
        ("Features at the readout: standard deviation", _deviation, "", None, ""),
        ("Features at the readout: effective rank", _rank, "", None, ""),
        ("Learning rate", _changing_rate(steps), "", None, ""),
    )
    for title, value, unit, bound, text in wanted:
        series = [value(step) for step in steps]
        if sum(number is not None for number in series) > 1:
            yield curve(title, [step.index for step in steps], series, unit, bound, text)


def curve(
    title: str,
    steps: Sequence[int],
    series: Sequence[float | None],
    unit: str = "",
    bound: float | None = None,
    bound_text: str = "",
) -> Curve:
    scale = Scale.of([*series, bound]) or Scale(0.0, 1.0)
    across = [WIDTH * index / max(1, len(series) - 1) for index in range(len(series))]
    return Curve(
        title,
        tuple((step, quantity(number, unit)) for step, number in zip(steps, series, strict=True)),
        tuple(_parts(across, series, scale)),
        tuple(place for place, number in zip(across, series, strict=True) if _is_broken(number)),
        tuple((_up(place), text) for place, text in scale.ticks(unit)),
        scale.logarithmic,
        None if bound is None else _up(scale.place(bound)),
        bound_text,
    )


def _parts(
    across: Sequence[float], series: Sequence[float | None], scale: Scale
) -> Iterator[tuple[tuple[float, float], ...]]:
    part: list[tuple[float, float]] = []
    for place, number in zip(across, series, strict=True):
        if number is not None and not _is_broken(number):
            part.append((round(place, 1), round(_up(scale.place(number)), 1)))
        elif part:
            yield tuple(part)
            part = []
    if part:
        yield tuple(part)


def _up(place: float) -> float:
    return HEIGHT * (1 - place)


def _is_broken(number: float | None) -> bool:
    return number is not None and not math.isfinite(number)


def _class_loss(step: Step) -> float | None:
    """Where it is not what the loss curve shows already: the loss is weighted, smoothed, or one of several terms."""
    if step.loss is None or step.class_loss is None or math.isclose(step.loss, step.class_loss, rel_tol=1e-4):
        return None
    return step.class_loss


def _is_class_loss(steps: Sequence[Step]) -> bool:
    return any(step.class_loss is not None for step in steps) and all(_class_loss(step) is None for step in steps)


def _changing_rate(steps: Sequence[Step]) -> Value:
    rates = {step.learning_rate for step in steps}
    return lambda step: step.learning_rate if len(rates) > 1 else None


def _deviation(step: Step) -> float | None:
    return step.features.values.std if step.features else None


def _rank(step: Step) -> float | None:
    return step.features.rank if step.features else None
