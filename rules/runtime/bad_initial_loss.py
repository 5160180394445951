"""ML313."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.statistics import median
from modellint.measure.trajectory import LAST


def _run(*class_losses: float, classes: int = 10) -> Run:
    return Run(steps=tuple(Step(i, class_loss=loss) for i, loss in enumerate(class_losses)), classes=classes)


class BadInitialLoss(RuntimeRule):
    """Training starts far worse than guessing.

    Why: a classifier that knows nothing has a cross entropy of ln C; one that starts far above it is sure of wrong
        answers from large logits, and spends its first steps unlearning them.
    Fix: normalise the features before the readout, standardise the inputs, initialise the readout with small
        weights.
    Ignore: when training goes on from a checkpoint of another task.
    Thresholds: `excess` = 2 times ln C at the first step, without class weights or smoothing (0 of 198 healthy
        runs; the nearest, a contrastive loss, started at 1.75). A note only if the last losses are below `left` =
        1.5 times ln C: sums over neighbours start high and unlearn it within ten steps; and where each row is a class
        of its own, as in CLIP: the temperature of the similarities sets the start.
    Reported: https://github.com/keras-team/keras/issues/6259
    """

    code, severity = "ML313", Severity.WARNING
    remedy = ("normalize-readout", "standardise-input")
    needs = "a class loss at the first step"
    of_data = True
    excess, left = 2.0, 1.5
    bad = _run(90.2, 61.4, 37.9)
    good = (
        _run(2.41, 2.3, 2.2),
        _run(2.3, 40.0, 30.0),  # starts well and diverges: another fault
        _run(4.85, 4.5, 4.1, classes=16),  # a contrastive loss
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        series = tuple(step.class_loss for step in run.steps if step.class_loss is not None)
        if not series or not run.classes or run.classes < 2 or run.steps[0].class_loss is None:
            return
        guessing = math.log(run.classes)
        if series[0] > self.excess * guessing:
            evidence = Evidence("cross entropy at the first step", series[0], self.excess * guessing, series=series)
            message = f"training starts at {series[0] / guessing:.1f} times the loss of guessing"
            unlearned = median(series[-LAST:]) < self.left * guessing
            mild = unlearned or _matches_rows(run)
            yield self.convict(run.place("loss"), message, evidence, severity=Severity.NOTE if mild else None)
        else:
            yield self.passed("the first loss is near that of guessing, ln C", series[0], self.excess * guessing)


def _matches_rows(run: Run) -> bool:
    """Whether every batch held each class once, and nothing else: the labels number the rows."""
    counts = set(run.label_counts.values())
    rows = {step.logits.rows for step in run.steps if step.logits}
    return rows == {run.classes} and len(run.label_counts) == run.classes and len(counts) == 1
