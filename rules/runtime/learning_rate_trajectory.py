"""ML319."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer


def _run(*rates: float, requested: int = 10) -> Run:
    steps = tuple(Step(index, learning_rate=rate) for index, rate in enumerate(rates))
    return Run(steps=steps, optimizers=(Optimizer("SGD", rates[0]),), requested_steps=requested)


class LearningRateTrajectory(RuntimeRule):
    """The schedule brings the learning rate to nothing within a few steps, or sends it up and down again.

    Why: a schedule that was meant for epochs and is stepped with each batch ends before the training has begun: the
        rest of the run learns nothing; a cosine that is past its horizon comes back up instead.
    Fix: step the scheduler where its horizon is counted: once an epoch, or with a horizon of epochs x batches.
    Ignore: a training that is over after these steps, and warm restarts that are this short on purpose.
    Thresholds: `share` = within the watched steps the rate falls below 1/100 of its highest value, and the run had
        more steps to go. Every decay of a training of more than a hundred steps loses less in its first ten; warm-up,
        which rises, is no fall.
    Reported: https://github.com/Lornatang/SRGAN-PyTorch/issues/1
    """

    code, severity, topic = "ML319", Severity.WARNING, "schedule"
    explains = ("update-too-small", "frozen-weights", "loss-not-falling")
    needs = "the learning rate of at least five steps"
    share, steps = 0.01, 5
    bad = (
        _run(*[0.1 * 0.1**i for i in range(10)]),
        _run(0.1, 0.09, 0.065, 0.035, 0.0095, 0.0, 0.0095, 0.035, 0.065, 0.09),
    )
    good = (
        _run(*[0.1] * 10),
        _run(*[1e-7 * 4**i for i in range(10)]),  # warms up
        _run(*[0.1 * 0.9**i for i in range(10)]),
        _run(0.1, 0.09, 0.065, 0.035, 0.0095, 0.0, requested=10),  # the training is over
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for index, optimizer in enumerate(run.optimizers):
            steps = run.of(index)
            rates = [step.learning_rate for step in steps if step.learning_rate is not None]
            if len(rates) < self.steps or not any(rates):
                continue
            low = min(rates[rates.index(max(rates)) :])
            if low < self.share * max(rates) and len(steps) >= run.requested_steps:
                yield self._finding(run, optimizer, steps, low, max(rates))
            else:
                yield self.passed(
                    "the learning rate stays within its schedule", f"{min(rates):.3g} .. {max(rates):.3g}"
                )

    def _finding(self, run: Run, made: Optimizer, steps: Sequence[Step], low: float, high: float) -> Diagnostic:
        series = tuple(step.learning_rate for step in steps)
        last = series[-1] or 0.0
        again = f", and comes back to {last:.3g}" if last > max(10 * low, self.share * high) else ""
        message = f"the learning rate falls from {high:.3g} to {low:.3g} within {len(steps)} steps{again}"
        place = run.places.get("schedule", made.location)
        return self.convict(place, message, Evidence("learning rate", low, self.share * high, series=series))
