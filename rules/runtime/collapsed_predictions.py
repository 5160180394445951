"""ML309."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.statistics import distinct, fewer_distinct, shares
from modellint.measure.trajectory import each_optimizer


def _run(predictions: Sequence[int], class_loss: float, labels: Sequence[int] = tuple(range(10))) -> Run:
    step = Step(predictions=tuple(predictions), labels=tuple(labels), class_loss=class_loss)
    counts = {label: 3 * labels.count(label) for label in labels}
    return Run(steps=(step,) * 3, classes=max(10, *labels), label_counts=counts)


class CollapsedPredictions(RuntimeRule):
    """The model is confidently wrong: it predicts few classes where the labels hold many.

    Why: its outputs are so large that one class wins whatever the input is; the loss is then dominated by that
        class and its gradients push the network further out.
    Fix: remove the cause that is named with this finding: lower the learning rate, normalise the features before
        the readout, standardise the inputs, check the sign of the loss.
    Ignore: when the labels of the probed batches are not a sample of the task, such as batches of one class each.
    Thresholds: in `steps` = 3 successive steps the cross entropy is above `excess` = 1.5 ln C, each holds less than
        `share` = 0.6 of the classes that as many draws from the label frequencies would, and together they fall
        short by `sigma` = 4 standard deviations. Few distinct predictions alone prove nothing: 21 of 69 fresh
        healthy networks predict one to three classes; with the loss, 0 of 198 are found, and with these numbers 0
        of the 100 of benchmarks/calibration.py.
    Reported: https://github.com/BVLC/caffe/issues/6047
    """

    code, severity, topic = "ML309", Severity.WARNING, "predictions"
    explains = ("loss-not-falling",)
    remedy = ("lower-lr", "normalize-readout", "standardise-input")
    needs = "predictions and labels of at least three successive steps"
    of_data = True
    steps, sigma, share, excess = 3, 4.0, 0.6, 1.5
    bad = (
        _run([21, 0, 38, 21, 38, 0, 0, 0, 0, 38], class_loss=8.7),
        _run([3] * 10, class_loss=40.0),
    )
    good = (
        _run([3] * 10, class_loss=2.31),  # a fresh network
        _run([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], class_loss=40.0),  # wrong, and not collapsed
        _run([0] * 20, class_loss=0.69, labels=[0] * 19 + [1]),  # the majority class, and no more sure than a coin
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        windows = [window for steps in each_optimizer(run) for window in self._windows(steps)]
        collapsed = [window for window in windows if self._wrong(run, window) and self._few(run, window)]
        if collapsed:
            yield self._finding(run, collapsed[-1])
        elif windows and run.label_counts and run.classes:
            yield self.passed("predictions have not collapsed", f"{_found(windows[-1][-1])} distinct")

    def _windows(self, steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
        judged = [step for step in steps if step.predictions and step.class_loss is not None]
        return (judged[i : i + self.steps] for i in range(len(judged) - self.steps + 1))

    def _wrong(self, run: Run, window: Sequence[Step]) -> bool:
        return all((step.class_loss or 0.0) > self.excess * math.log(run.classes or 1) for step in window)

    def _few(self, run: Run, window: Sequence[Step]) -> bool:
        frequencies = shares(run.label_counts)
        batches = [(len(set(step.predictions)), len(step.predictions)) for step in window]
        poor = all(classes < self.share * distinct(frequencies, draws)[0] for classes, draws in batches)
        return poor and fewer_distinct(frequencies, batches) < -self.sigma

    def _finding(self, run: Run, window: Sequence[Step]) -> Diagnostic:
        step, steps = window[-1], run.of(window[-1].optimizer)
        expected, _ = distinct(shares(run.label_counts), len(step.predictions))
        series = tuple(len(set(s.predictions)) if s.predictions else None for s in steps)
        few = Evidence("distinct predictions in a batch", len(set(step.predictions)), expected, series=series)
        bound = self.excess * math.log(run.classes or 1)
        wrong = Evidence("cross entropy", step.class_loss, bound, series=tuple(s.class_loss for s in steps))
        message = f"predictions have collapsed: {_found(step)} distinct, where the labels hold {len(set(step.labels))}"
        return self.convict(run.place("model"), message, few, wrong)


def _found(step: Step) -> str:
    return f"{len(set(step.predictions))} of {len(step.predictions)}"
