"""A number for each part of the model and each step, as rows of tinted cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from modellint.core.record import dataclass
from modellint.measure.run import Run
from modellint.measure.step import Step
from modellint.report.numbers import number

from .scale import Scale

TINTS = 9
MOST_ROWS = 40
MOST_STEPS = 40
NOT_FINITE = "bad"

Values = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Cell:
    """`tint` is 1 (the least) to TINTS, "bad" for what is not finite, empty for what was not measured."""

    text: str
    tint: str


@dataclass(frozen=True, slots=True)
class Heatmap:
    title: str
    steps: tuple[int, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    low: str
    high: str


def gradients(run: Run, optimizer: int) -> tuple[Heatmap, ...]:
    """The gradient norm of each module, as backward() made it and, where that differs, as the optimizer applied it."""
    steps = _some(run.of(optimizer))
    before = _table(run, steps, lambda step: step.gradients, _norm)
    after = _table(run, steps, lambda step: step.gradients_at_step, _norm)
    scale = Scale.of(value for table in (before, after) for row in table.values() for value in row)
    if scale is None:
        return ()
    maps = [_heatmap("Gradient norm after backward()", steps, before, scale)]
    pairs = (pair for name in before if name in after for pair in zip(before[name], after[name], strict=True))
    if any(_differ(one, other) for one, other in pairs):
        maps.append(_heatmap("Gradient norm that step() applies, after clipping", steps, after, scale))
    return tuple(maps)


def updates(run: Run, optimizer: int) -> tuple[Heatmap, ...]:
    """The largest relative update of each module."""
    steps = _some(run.of(optimizer))
    table = _table(run, steps, lambda step: step.updates, max)
    scale = Scale.of(value for row in table.values() for value in row)
    return (_heatmap("Norm of the update / norm of the weight", steps, table, scale),) if scale else ()


def _some(steps: Sequence[Step]) -> Sequence[Step]:
    """At most MOST_STEPS of them, evenly spaced, the last included."""
    return (
        steps
        if len(steps) <= MOST_STEPS
        else [steps[i * (len(steps) - 1) // (MOST_STEPS - 1)] for i in range(MOST_STEPS)]
    )


def _table(
    run: Run, steps: Sequence[Step], values: Callable[[Step], Values], together: Callable[[Iterable[float]], float]
) -> dict[str, list[float | None]]:
    names = list(dict.fromkeys(name for step in steps for name in values(step)))
    modules = {parameter.name: parameter.module or parameter.name for parameter in run.parameters}
    groups: dict[str, list[str]] = {}
    for name, part in zip(names, _rows([modules.get(name, name) for name in names]), strict=True):
        groups.setdefault(part, []).append(name)
    return {
        part: [_joined([values(step).get(name) for name in members], together) for step in steps]
        for part, members in groups.items()
    }


def _rows(modules: Sequence[str]) -> list[str]:
    """The row of each module: neighbours share one where there are too many for a row each."""
    known = list(dict.fromkeys(modules))
    size = math.ceil(len(known) / MOST_ROWS)
    bins = [known[start : start + size] for start in range(0, len(known), size or 1)]
    names = {name: name if len(part) == 1 else f"{part[0]} .. {part[-1]}" for part in bins for name in part}
    return [names[name] for name in modules]


def _joined(values: Sequence[float | None], together: Callable[[Iterable[float]], float]) -> float | None:
    known = [value for value in values if value is not None]
    broken = next((value for value in known if not math.isfinite(value)), None)
    return broken if broken is not None else together(known) if known else None


def _norm(values: Iterable[float]) -> float:
    return math.hypot(*values)


def _differ(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and not math.isclose(one, other, rel_tol=0.01)


def _heatmap(title: str, steps: Sequence[Step], table: Mapping[str, Sequence[float | None]], scale: Scale) -> Heatmap:
    rows = tuple((name, tuple(_cell(value, scale) for value in values)) for name, values in table.items())
    return Heatmap(title, tuple(step.index for step in steps), rows, number(scale.low), number(scale.high))


def _cell(value: float | None, scale: Scale) -> Cell:
    if value is None:
        return Cell("not measured", "")
    if not math.isfinite(value):
        return Cell(number(value), NOT_FINITE)
    return Cell(number(value), str(1 + min(int(scale.place(value) * TINTS), TINTS - 1)))
