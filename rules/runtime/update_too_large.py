"""ML314."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.run import Optimizer, Parameter
from modellint.measure.statistics import median
from modellint.measure.trajectory import exploding, no_better_than_guessing


def _run(
    ratio: float, class_losses: Sequence[float], weights: Sequence[str] = ("body.weight", "readout.weight")
) -> Run:
    updates = dict.fromkeys(weights, ratio)
    return Run(
        steps=tuple(Step(index, class_loss=loss, updates=updates) for index, loss in enumerate(class_losses)),
        parameters=tuple(Parameter(name, (16, 16), optimizer=0) for name in weights),
        optimizers=(Optimizer("Adam", 1.0),),
        label_counts=dict.fromkeys(range(10), 30),
    )


class UpdateTooLarge(RuntimeRule):
    """Each step changes the weights by a large part of themselves, and the loss is no better than guessing.

    Why: after such a step the gradient that justified it says nothing about where the network now is.
    Fix: lower the learning rate, by 10 at first; warm it up if the target rate is right for later.
    Ignore: when a large first step is meant, such as for a single matrix, which has a closed solution nearby.
    Thresholds: `ratio` = 0.1 as the median over weight matrices and over steps 3 to 10 of (norm of the update) /
        (norm of the weight); healthy runs lie between 6e-5 and 0.07. Zero-initialised tensors are left out, at
        least `matrices` = 2 are needed, and the median of the last five losses must not be below the entropy of the
        labels (without classes: below the first loss): without these, 6 false alarms in 129 healthy runs, with them
        none. If gradients explode, an update above the ratio must have come before. Early steps, because at step 20
        only 3 of 21 learning rates that are 100 times too high still show.
    Reported: https://github.com/facebookresearch/detr/issues/285
    """

    code, severity = "ML314", Severity.WARNING
    explains = (
        "exploding-gradients",
        "unscaled-features",
        "collapsed-predictions",
        "collapsed-features",
        "loss-not-falling",
    )
    remedy = "lower-lr"
    needs = "the updates of at least two weight matrices in three steps after the second"
    ratio, matrices = 0.1, 2
    bad = _run(0.4, [2.4, 150.0, 245.0, 180.0, 320.0, 250.0, 140.0, 80.0])
    good = (
        _run(0.01, [2.4, 2.3, 2.2, 2.1, 2.0, 1.9, 1.8, 1.7]),
        _run(0.2, [2.4, 2.0, 1.6, 1.2, 0.9, 0.8, 0.6, 0.5]),  # large steps that learn
        _run(0.4, [2.4, 2.5, 2.4, 2.5, 2.4, 2.5, 2.4, 2.4], weights=["linear.weight"]),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        names = {p.name for p in run.parameters if p.is_weight and not p.zero_initialised}
        for index, optimizer in enumerate(run.optimizers):
            steps = run.of(index)
            series = tuple(self._typical(step, names) for step in steps)
            early = [ratio for ratio in series[2:10] if ratio is not None]
            if len(early) < 3:
                continue
            large = median(early) > self.ratio and no_better_than_guessing(run, steps)
            if large and not self._explosion_came_first(run, steps, series):
                yield self._finding(optimizer, median(early), series)
            else:
                yield self.passed("updates are small against the weights (median ratio)", median(early), self.ratio)

    def _typical(self, step: Step, names: set[str]) -> float | None:
        ratios = [r for name, r in step.updates.items() if name in names and r is not None and math.isfinite(r)]
        return None if len(ratios) < self.matrices or step.skipped else median(ratios)

    def _explosion_came_first(self, run: Run, steps: Sequence[Step], series: Sequence[float | None]) -> bool:
        """Plain gradient descent makes a large update of a large gradient, whatever the learning rate."""
        peaks = [found.series.index(found.peak) for found in exploding(run, steps)]
        return any(all((ratio or 0.0) <= self.ratio for ratio in series[:peak]) for peak in peaks)

    def _finding(self, optimizer: Optimizer, typical: float, series: tuple[float | None, ...]) -> Diagnostic:
        rate = "" if optimizer.learning_rate is None else f" of {optimizer.learning_rate:g}"
        message = f"the learning rate{rate} changes the weights by {typical:.0%} in a step"
        evidence = Evidence("norm of the update / norm of the weight", typical, self.ratio, series=series)
        return self.convict(optimizer.location, message, evidence)
