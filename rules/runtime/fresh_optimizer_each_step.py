"""ML333."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.diagnostic import Location
from modellint.core.record import replace
from modellint.measure.cast import Optimizer

_ADAM = Optimizer("Adam", 1e-3, ("w",), settings={"betas": [0.9, 0.999]}, location=Location("train.py", 9))


def _run(made: Optimizer, count: int = 10, steps: int = 1, weight: float = 1.0) -> Run:
    """`count` optimizers of `steps` steps each; `weight` times as large is the weight from one to the next."""
    return Run(
        steps=tuple(Step(i, index, weights={"w": weight**index}) for index in range(count) for i in range(steps)),
        optimizers=(made,) * count,
    )


class FreshOptimizerEachStep(RuntimeRule):
    """The optimizer is made anew for every step: it forgets what it has gathered.

    Why: the moments of Adam and the momentum of SGD live in the optimizer. A new one begins with none: Adam's first step
        moves every weight by the whole learning rate, whatever its gradient is, and a schedule begins again, too.
    Fix: make the optimizer once, before the loop, and change `group["lr"]` where the rate is to change.
    Ignore: when the state is dropped on purpose. Plain SGD has none, and weights that go back to what they were before
        each step (an adaptation to a single sample) need a new one.
    Thresholds: `count` = 5 optimizers of one class, made at one line over the same parameters, of which each has made one
        step and none a second.
    Reported: https://github.com/alan-turing-institute/deepsensor/issues/47
    """

    code, severity, topic = "ML333", Severity.WARNING, "optimizer"
    explains, twins = ("loss-not-falling",), ("optimizer-remade",)
    needs = "five optimizers that were made at one line"
    count = 5
    bad = (_run(_ADAM, weight=1.01), _run(Optimizer("SGD", 0.1, ("w",), settings={"momentum": 0.9}), weight=0.99))
    good = (
        _run(_ADAM, count=3, weight=1.01),
        _run(_ADAM, steps=2, weight=1.01),  # the inner loop of a meta-learner
        _run(replace(_ADAM, name="SGD", settings={"momentum": 0}), weight=1.01),
        _run(_ADAM),  # each starts from the same weights
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for made, steps in _lines(run):
            if len(steps) >= self.count and _remembers(made) and _goes_on([step for (step,) in steps]):
                message = f"a new {made.name} is made for each step, and what the last one has gathered is lost"
                evidence = Evidence("optimizers of one step each", len(steps), 1)
                yield self.convict(made.location, message, evidence)


def _lines(run: Run) -> Iterator[tuple[Optimizer, list[tuple[Step, ...]]]]:
    """The steps of each optimizer of a line, where they are all over the same parameters and make one step each."""
    lines: dict[tuple[str, Location, tuple[str, ...]], list[int]] = defaultdict(list)
    for index, made in enumerate(run.optimizers):
        lines[made.name, made.location, made.parameters].append(index)
    for indices in lines.values():
        steps = [found for index in indices if (found := run.of(index))]
        if all(len(found) == 1 for found in steps):
            yield run.optimizers[indices[0]], steps


def _remembers(made: Optimizer) -> bool:
    return made.name not in ("SGD", "LBFGS", "by hand") or bool(made.settings.get("momentum"))


def _goes_on(steps: Sequence[Step]) -> bool:
    """Whether each step starts from other weights than the one before."""
    return all(one.weights != other.weights for one, other in pairwise(steps))
