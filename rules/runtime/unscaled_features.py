"""ML312."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.quantities import Distribution, Features
from modellint.measure.statistics import median
from modellint.measure.trajectory import GROWTH, LAST, each_optimizer, falls, losses, reference


def _run(stds: Sequence[float], class_losses: Sequence[float]) -> Run:
    steps = (
        Step(index, class_loss=loss, features=Features(32, 64, Distribution(std=std)))
        for index, (std, loss) in enumerate(zip(stds, class_losses, strict=True))
    )
    return Run(steps=tuple(steps), classes=10)


class UnscaledFeatures(RuntimeRule):
    """The features that enter the readout are so large that they decide the loss by their size.

    Why: logits are as large as the features that make them; the softmax saturates, the loss starts or ends far
        above that of guessing, and the gradients of the readout are as large as the features.
    Fix: put a LayerNorm, RMSNorm or BatchNorm before the readout; standardise the inputs; scale the branches of
        residual blocks down by 1/sqrt(depth).
    Ignore: large features are healthy as long as the loss is: a frozen backbone, or a readout that is scaled down.
    Thresholds: at the first step a standard deviation above `std` = 10 with a cross entropy above 2 ln C that stays
        above `left` = 1.5 ln C; or a growth to `growth` = 50 times that of the first steps while the loss does not
        fall. The size alone alarms on healthy runs.
    Reported: https://github.com/microsoft/Swin-Transformer/issues/262
    """

    code, severity = "ML312", Severity.WARNING
    explains = ("bad-initial-loss", "collapsed-predictions", "loss-not-falling")
    remedy = ("normalize-readout", "standardise-input")
    needs = "the features that enter the readout, and a class loss"
    of_data = True
    std, left, growth = 10.0, 1.5, GROWTH
    bad = (
        _run([60.0, 50.0, 40.0], [90.0, 60.0, 40.0]),
        _run([0.05, 900.0, 0.9, 800.0, 500.0, 600.0], [3.9, 6e5, 3e3, 3e4, 4e3, 5e3]),
    )
    good = (
        _run([0.5, 0.6, 0.6], [2.3, 2.2, 2.1]),
        _run([60.0, 55.0, 50.0], [2.3, 2.2, 2.1]),  # large, and the readout copes
        _run([0.01, 0.01, 0.02, 0.9, 1.0, 1.1], [2.3, 2.3, 2.2, 1.9, 1.5, 1.2]),  # grows because it learns
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for steps in each_optimizer(run):
            series = tuple(step.features.values.std if step.features else None for step in steps)
            measured = [std for std in series if std is not None]
            if not measured or not run.classes or steps[0].class_loss is None:
                continue
            if bound := self._exceeded(steps, series, run.classes):
                yield self._finding(run, max(measured), bound, series)
            else:
                yield self.passed("the scale of the features suits the readout (standard deviation)", measured[-1])

    def _exceeded(self, steps: Sequence[Step], series: Sequence[float | None], classes: int) -> float | None:
        """The bound that the features exceed, if they do harm."""
        first, start, peak = series[0] or 0.0, reference(series) or math.inf, max(std or 0.0 for std in series)
        guessing, values = math.log(classes), losses(steps)
        if first > self.std and values[0] > 2 * guessing and median(values[-LAST:]) > self.left * guessing:
            return self.std
        grown = peak > max(self.std, self.growth * start)
        return max(self.std, self.growth * start) if grown and not falls(values) else None

    def _finding(self, run: Run, largest: float, bound: float, series: tuple[float | None, ...]) -> Diagnostic:
        place = run.model.readout_location if run.model else run.place("model")
        evidence = Evidence("standard deviation of the features", largest, bound, series=series)
        return self.convict(place, "features too large for the readout enter it", evidence)
