"""How often each class was predicted and how often it was true, as pairs of bars."""

from __future__ import annotations

from collections import Counter

from modellint.core.record import dataclass
from modellint.measure.run import Run

MOST = 40  # classes that are drawn: the most frequent ones


@dataclass(frozen=True, slots=True)
class Bars:
    """`rows` hold the class, its share (0 to 1 of the largest count) and its count among predictions and labels."""

    rows: tuple[tuple[int, float, int, float, int], ...]
    rest: int  # classes that are not drawn
    steps: int

    @property
    def table(self) -> tuple[tuple[int, int, int], ...]:
        return tuple((index, predicted, true) for index, _, predicted, _, true in self.rows)


def histogram(run: Run) -> Bars | None:
    """Over all watched rows; None where no class was predicted."""
    predicted = Counter(index for step in run.steps for index in step.predictions)
    true = Counter(index for step in run.steps for index in step.labels)
    if not predicted:
        return None
    shown = sorted(k for k, _ in (predicted + true).most_common(MOST))
    most = max((predicted | true).values())
    rows = tuple((k, predicted[k] / most, predicted[k], true[k] / most, true[k]) for k in shown)
    known = max(len(predicted | true), run.classes or 0)
    return Bars(rows, known - len(rows), sum(bool(step.predictions) for step in run.steps))
