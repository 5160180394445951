"""What one re-run comes to: the few numbers of a Run by which remedies are judged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from modellint.core.record import dataclass, field
from modellint.measure.run import Run
from modellint.measure.step import Step


@dataclass(frozen=True, slots=True)
class Outcome:
    """`losses` at each step of the optimizer that trains the model, by the same definition with every remedy."""

    losses: tuple[float, ...] = ()
    finite: bool = True
    applied: tuple[str, ...] = ()  # remedies that took effect
    measures: Mapping[str, float] = field(default_factory=dict)
    symptoms: frozenset[str] = frozenset()  # the rules that convict the run
    problem: str = ""


def outcome(run: Run, steps: int, symptoms: frozenset[str] = frozenset()) -> Outcome:
    watched = trained(run)[:steps]
    finite = not any(step.non_finite for step in watched)
    problem = "" if watched else (run.problem.message if run.problem else "no training step seen")
    return Outcome(tuple(losses(watched)), finite, run.remedies, dict(_measures(watched)), symptoms, problem)


def trained(run: Run) -> tuple[Step, ...]:
    """The steps of the optimizer whose loss is known best; the first of several."""
    numbers = sorted({step.optimizer for step in run.steps})
    return max(map(run.of, numbers), key=lambda steps: (_classed(steps), len(steps)), default=())


def _classed(steps: Sequence[Step]) -> int:
    return sum(step.class_loss is not None for step in steps)


def losses(steps: Sequence[Step]) -> Iterator[float]:
    """What is no number is infinite: no low loss."""
    for name in ("objective", "loss"):
        values = [getattr(step, name) for step in steps]
        if any(value is not None for value in values):
            yield from (math.inf if math.isnan(value) else value for value in values if value is not None)
            return


def _measures(steps: Sequence[Step]) -> Iterator[tuple[str, float]]:
    norms = [step.gradient_norm_at_step for step in steps if step.gradient_norm_at_step is not None]
    if norms:
        yield "largest gradient norm that is applied", max(norms)
    later = steps[len(steps) // 2 :]
    answers = [pair for step in later for pair in zip(step.predictions, step.labels, strict=True)]
    if answers:
        yield "accuracy", sum(p == t for p, t in answers) / len(answers)
        yield "balanced accuracy", balanced_accuracy(answers)
        yield "distinct predictions", float(len({prediction for prediction, _ in answers}))


def balanced_accuracy(answers: Sequence[tuple[int, int]]) -> float:
    """The mean over the classes of the share of their rows that are predicted rightly."""
    total = Counter(label for _, label in answers)
    right = Counter(label for prediction, label in answers if prediction == label)
    return sum(right[label] / count for label, count in total.items()) / len(total)
