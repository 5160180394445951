"""ML314."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer, Parameter
from modellint.measure.trajectory import DIVERGED, growth, peak
from modellint.measure.updates import early, ratios, too_large


def _run(
    ratio: float, class_losses: Sequence[float], weights: Sequence[str] = ("body.weight", "readout.weight")
) -> Run:
    updates = dict.fromkeys(weights, ratio)
    return Run(
        steps=tuple(Step(index, class_loss=loss, updates=updates) for index, loss in enumerate(class_losses)),
        parameters=tuple(Parameter(name, (16, 16), optimizer=0) for name in weights),
        optimizers=(Optimizer("Adam", 1.0),),
        classes=10,
        label_counts=dict.fromkeys(range(10), 30),
    )


class UpdateTooLarge(RuntimeRule):
    """Each step changes the weights by a large part of themselves, and the loss is no better than guessing.

    Why: after such a step the gradient that justified it says nothing about where the network now is.
    Fix: lower the learning rate, by 10 at first; warm it up if the target rate is right for later.
    Ignore: when a large first step is meant, such as for a single matrix, which has a closed solution nearby.
    Thresholds: `ratio` = 0.1 as the median over weight matrices and over steps 3 to 10 of (norm of the update) /
        (norm of the weight); healthy runs lie between 6e-5 and 0.07. Zero-initialised tensors are left out, at
        least 2 are needed, and the median of the last five losses must not be below the entropy of the labels
        (without classes: below the first loss): without these, 6 false alarms in 129 healthy runs, with them none.
        If gradients explode, an update above the ratio must have come before. Early steps, because at step 20 only
        3 of 21 learning rates that are 100 times too high still show.
        Only noted where the losses shot up (1.5 times both the first and ln C) and came down again, and without
        classes unless the loss ends at `growth` = 10 times the first one: errors of a moving target need not fall.
    Reported: https://github.com/facebookresearch/detr/issues/285
    """

    code, severity = "ML314", Severity.WARNING
    explains = (
        "exploding-gradients",
        "dead-units",
        "unscaled-features",
        "collapsed-predictions",
        "collapsed-features",
        "loss-not-falling",
    )
    remedy = ("lower-lr", "warm-up")
    needs = "the updates of at least two weight matrices in three steps after the second"
    of_data = True
    ratio, growth = 0.1, 10.0
    bad = (
        _run(0.4, [2.4, 150.0, 245.0, 180.0, 320.0, 250.0, 140.0, 80.0]),
        _run(0.2, [2.4, 6.1, 4.6, 3.3, 5.5, 2.8, 2.1, 1.1]),  # comes down again: a note
    )
    good = (
        _run(0.01, [2.4, 2.3, 2.2, 2.1, 2.0, 1.9, 1.8, 1.7]),
        _run(0.2, [2.4, 2.0, 1.6, 1.2, 0.9, 0.8, 0.6, 0.5]),  # large steps that learn
        _run(0.4, [2.4, 2.5, 2.4, 2.5, 2.4, 2.5, 2.4, 2.4], weights=["linear.weight"]),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for index, optimizer in enumerate(run.optimizers):
            series = ratios(run, run.of(index))
            typical = early(series)
            if typical is None:
                continue
            steps = run.of(index)
            if too_large(run, steps, self.ratio):
                mild = not _is_classified(steps) and growth(steps) < self.growth  # nan counts as infinite
                yield self._finding(optimizer, typical, series, mild)
            elif typical > self.ratio and _is_classified(steps) and peak(run, steps) > DIVERGED:
                yield self._finding(optimizer, typical, series, mild=True)
            else:
                yield self.passed("updates are small against the weights (median ratio)", typical, self.ratio)

    def _finding(
        self, optimizer: Optimizer, typical: float, series: tuple[float | None, ...], mild: bool
    ) -> Diagnostic:
        rate = "" if optimizer.learning_rate is None else f" of {optimizer.learning_rate:g}"
        message = f"the learning rate{rate} changes the weights by {typical:.0%} in a step"
        evidence = Evidence("norm of the update / norm of the weight", typical, self.ratio, series=series)
        return self.convict(optimizer.location, message, evidence, severity=Severity.NOTE if mild else None)


def _is_classified(steps: Sequence[Step]) -> bool:
    return any(step.class_loss is not None for step in steps)
