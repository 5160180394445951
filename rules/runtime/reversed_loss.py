"""ML328."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.trajectory import each_optimizer


def _run(*weights: float, classed: bool = True) -> Run:
    losses = [2.3 if classed else None] * len(weights)
    return Run(
        tuple(Step(i, class_loss=loss, loss_weight=w) for i, (loss, w) in enumerate(zip(losses, weights, strict=True)))
    )


class ReversedLoss(RuntimeRule):
    """What is minimised falls when the cross entropy rises.

    Why: a minus too many, or a score where a loss was expected: each step makes the model more wrong.
    Fix: give backward() the cross entropy itself; a likelihood to maximise takes exactly one minus.
    Ignore: unlearning, attacks, and adversaries that are trained to confuse a classifier.
    Thresholds: at every step, and at least `steps` = 3, the derivative of what backward() starts from by the value of
        each class loss in it is negative (micro-batches give 1/k, a gradient scaler its scale, a penalty beside the
        loss 1); where one of several losses is maximised, the others are not.
    Reported: https://github.com/fastai/fastbook/pull/478
    """

    code, severity = "ML328", Severity.WARNING
    explains = ("loss-not-falling", "collapsed-predictions", "exploding-gradients", "unscaled-features")
    remedy = "flip-sign"
    needs = "a class loss at three steps"
    steps = 3
    bad = (_run(-1.0, -1.0, -1.0), _run(-0.25, -0.25, -0.25, -0.25))
    good = (_run(1.0, 1.0, 1.0), _run(1.0, -0.1, 1.0, 1.0), _run(-1.0, -1.0, -1.0, classed=False), _run(-1.0))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for steps in each_optimizer(run):
            judged = [step for step in steps if step.class_loss is not None and step.loss_weight is not None]
            if len(judged) < self.steps:
                continue
            if all((step.loss_weight or 0.0) < 0 for step in judged):
                yield self._finding(run, judged)
            else:
                yield self.passed(
                    "the loss is minimised: d (what is minimised) / d (loss)", judged[-1].loss_weight, 0.0
                )

    def _finding(self, run: Run, steps: Sequence[Step]) -> Diagnostic:
        series = tuple(step.loss_weight for step in steps)
        sign = Evidence("d (what backward() starts from) / d (cross entropy)", series[-1], 0.0, series=series)
        losses = tuple(step.class_loss for step in steps)
        rise = Evidence(
            "cross entropy", losses[-1], losses[0], holds=(losses[-1] or 0.0) > (losses[0] or 0.0), series=losses
        )
        return self.convict(run.place("loss"), "the cross entropy is maximised: its sign is reversed", sign, rise)
