"""ML336."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.quantities import Distribution, Pair
from modellint.measure.trajectory import each_optimizer


def _run(target: float, *predicted: float) -> Run:
    values = Distribution(mean=target, std=target / 4)
    return Run(
        tuple(
            Step(i, regression=Pair(input=Distribution(mean=p, std=0.1), target=values))
            for i, p in enumerate(predicted)
        )
    )


class UnscaledTargets(RuntimeRule):
    """The targets of a regression are thousands of times what the model predicts, and its steps hardly lead there.

    Why: a fresh network predicts numbers near 1, and an optimizer of the Adam family changes each weight by a fixed length a step,
        however large the error. Prices in hundred thousands are then thousands of steps away: until then the loss is huge, and
        the model learns no more than which way is up.
    Fix: standardise the targets with mean and standard deviation of the training set, and undo it on predictions; or
        predict their logarithm.
    Ignore: when it is known that the run is long enough.
    Thresholds: in every one of at least `steps` = 5 steps the targets' root mean square is above `large` = 1,000 and above `apart`
        = 1,000 times that of the predictions, which grow in a step by less than 1 / `far` = 20,000 of what is missing. Returns of
        reinforcement learning (hundreds) are below. A network of three layers and Adam at 1e-3 was at half of targets of size
        200 after 170 steps, of 3,000 after 430, of 30,000 after 900 and of 300,000 after 2,100: the layers grow together.
    Reported: https://github.com/pytorch/pytorch/issues/46322
    """

    code, severity, topic = "ML336", Severity.WARNING, "data"
    explains = ("cannot-overfit", "loss-not-falling")
    needs = "the predictions and targets of a regression at five steps"
    steps, large, apart, far = 5, 1000.0, 1000.0, 20_000
    bad = (_run(2e5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), _run(-3e4, 0.1, 0.1, 0.1, 0.1, 0.1))
    good = (
        _run(2.0, 0.1, 0.1, 0.1, 0.1, 0.1),
        _run(2e5, 1e5, 1e5, 1.2e5, 1.3e5, 1.4e5),  # raw units, and a readout that begins there
        _run(300.0, 0.1, 0.3, 0.5, 0.7, 0.9),  # returns of an episode
        _run(240.0, 0.19, 0.19, 0.2, 0.2, 0.21, 0.21),  # the same, by small steps
        _run(5e3, 0.1, 20.0, 100.0, 500.0, 1e3),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for steps in each_optimizer(run):
            pairs = [step.regression for step in steps if step.regression is not None]
            sizes = [(_size(pair.input), _size(pair.target)) for pair in pairs if _size(pair.target) > 0]
            if len(sizes) < self.steps:
                continue
            missing = min(target for _, target in sizes) - sizes[-1][0]
            pace = max(sizes[-1][0] - sizes[0][0], 0.0) / (len(sizes) - 1)
            if self._are_apart(sizes) and missing > self.far * pace:
                yield self._finding(run, sizes, pace)
            else:
                nearest = min(target / made if made else math.inf for made, target in sizes)
                yield self.passed(
                    "the targets are in reach: their size in units of the predictions", nearest, self.apart
                )

    def _are_apart(self, sizes: Sequence[tuple[float, float]]) -> bool:
        return all(target > max(self.large, self.apart * made) for made, target in sizes)

    def _finding(self, run: Run, sizes: Sequence[tuple[float, float]], pace: float) -> Diagnostic:
        made, target = sizes[-1]
        grown = f"grow by {pace:,.2g} in a step" if pace else "do not grow"
        message = f"the targets are of size {target:,.3g}; the predictions are of size {made:,.2g} and {grown}"
        series = tuple(made for made, _ in sizes)
        evidence = Evidence(
            "root mean square of the predictions, against that of the targets", made, target, series=series
        )
        return self.convict(run.place("loss"), message, evidence)


def _size(values: Distribution) -> float:
    found = math.hypot(values.mean or 0.0, values.std or 0.0)
    return found if math.isfinite(found) else 0.0
