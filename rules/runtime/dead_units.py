"""ML304."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Parameter
from modellint.measure.trajectory import each_optimizer, no_better_than_guessing


def _run(*shares: float, falling: bool = False) -> Run:
    losses = [2.3 - 0.1 * falling * index for index in range(len(shares))]
    return Run(
        steps=tuple(
            Step(index, loss=loss, zero_units={"body.weight": share})
            for index, (loss, share) in enumerate(zip(losses, shares, strict=True))
        ),
        parameters=(Parameter("body.weight", (64, 16), "body", "Linear"),),
    )


class DeadUnits(RuntimeRule):
    """Nearly all units of a ReLU layer are zero for every sample of the batch.

    Why: a ReLU that is zero has no gradient; one that is zero for all samples learns nothing any more, and nothing
        comes through it to the layers before.
    Fix: lower the learning rate (one large step can throw all biases below zero), standardise the inputs, put a norm
        before the activation, or use GELU or LeakyReLU.
    Ignore: sparse codes, where most units are meant to be silent. Only noted while the loss falls all the same and
        some of the units live.
    Thresholds: `share` = in each of the last `steps` = 3 steps at least 90 % of the units of one layer are zero in all
        rows of the batch, of at least 32 rows (0 of 198 healthy runs, whose layers reach 0.75).
    Reported: https://github.com/keras-team/keras/issues/7057
    """

    code, severity = "ML304", Severity.WARNING
    explains = (
        "zero-gradients",
        "vanishing-gradients",
        "identical-outputs",
        "collapsed-features",
        "loss-not-falling",
        "cannot-overfit",
    )
    needs = "what comes out of a ReLU, at three steps, for 32 samples or places"
    of_data = True
    share, steps = 0.9, 3
    bad = (_run(0.4, 0.95, 0.97, 0.97), _run(1.0, 1.0, 1.0, falling=True))
    good = (_run(0.75, 0.7, 0.75, 0.72), _run(0.95, 0.95, 0.95, 0.2), _run(1.0, 1.0))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for steps in each_optimizer(run):
            measured = [step for step in steps if step.zero_units]
            last = measured[-self.steps :]
            if len(last) < self.steps:
                continue
            lowest = {name: min(step.zero_units.get(name, 0.0) for step in last) for name in last[-1].zero_units}
            dead = [name for name, share in lowest.items() if share >= self.share]
            yield from (self._finding(run, steps, name, lowest[name]) for name in dead)
            if not dead:
                yield self.passed("the units of the ReLUs live (share of dead ones)", max(lowest.values()), self.share)

    def _finding(self, run: Run, steps: Sequence[Step], name: str, share: float) -> Diagnostic:
        owner = next((p for p in run.parameters if p.name == name), Parameter(name))
        series = tuple(step.zero_units.get(name) for step in steps)
        evidence = Evidence(
            f"units behind {name} that are zero for the whole batch", share, self.share, unit="share", series=series
        )
        place = owner.location if owner.location.path else run.place("model", owner.module or None)
        mild = share < 1 and not no_better_than_guessing(run, steps)
        message = f"{share:.0%} of the units behind {owner.module or name} are dead"
        return self.convict(place, message, evidence, severity=Severity.NOTE if mild else None)
