"""ML327."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.statistics import median
from modellint.measure.trajectory import each_optimizer, falls, losses


def _run(*class_losses: float, hits: Sequence[int] = ()) -> Run:
    """Steps with a class loss each, and of ten predictions as many right as `hits` says."""
    return Run(
        steps=tuple(
            Step(i, class_loss=loss, predictions=(1,) * 10 if hits else (), labels=_labels(hits[i]) if hits else ())
            for i, loss in enumerate(class_losses)
        )
    )


def _labels(right: int) -> tuple[int, ...]:
    return (1,) * right + (0,) * (10 - right)


class LossNotFalling(RuntimeRule):
    """Neither does the loss fall nor does the accuracy rise within the probe.

    Why: ten steps are often too few to learn, so this says little; with another finding it says that the fault
        matters.
    Fix: probe more steps; try to overfit a single batch: a network that cannot do that has a fault.
    Ignore: slow starts, warm-up, and objectives that are not meant to fall.
    Thresholds: the median of the last five losses against the first one, and the mean accuracy of the second half
        against the first half. 25 of 69 healthy runs are not below the entropy of their labels at step 10: hence a
        note.
    Reported: https://github.com/tom-roddick/oft/issues/6
    """

    code, severity = "ML327", Severity.NOTE
    needs = "six losses: ones that fall, or those of a class loss"
    of_data = True
    bad = _run(2.3, 2.4, 2.5, 2.3, 2.4, 2.5, 2.6)
    good = (
        _run(2.3, 2.2, 2.1, 2.0, 1.9, 1.8, 1.7),
        _run(3.9, 9.0, 8.0, 9.0, 7.0, 8.0, hits=[0, 0, 1, 3, 2, 4]),
        _run(2.3, 2.4),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for steps in each_optimizer(run):
            values = losses(steps)
            accuracies = [step.accuracy for step in steps if step.accuracy is not None]
            if len(values) < 6:
                continue
            if falls(values):
                yield self.passed("the loss falls", f"{values[0]:.3g} .. {median(values[-5:]):.3g}")
            if _rises(accuracies):
                yield self.passed("the accuracy rises", f"{accuracies[0]:.0%} .. {accuracies[-1]:.0%}")
            elif not falls(values) and steps[0].class_loss is not None:
                evidence = Evidence("loss", median(values[-5:]), values[0], series=values)
                yield self.convict(run.place("loss"), "the loss does not fall within the probe", evidence)


def _rises(values: Sequence[float]) -> bool:
    half = len(values) // 2
    return half > 0 and values[-1] > values[0] and sum(values[half:]) / (len(values) - half) > sum(values[:half]) / half
