"""ML340."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Follower


def _run(stepped: int, *rates: float | None) -> Run:
    return Run(steps=(Step(),), followers=(Follower("Encoder", rates=rates, stepped=stepped),))


class AverageIsTrained(RuntimeRule):
    """A network that averages the weights of another is stepped by the optimizer as well.

    Why: a teacher or a target is to be steady, and to lie behind the network that learns. Here gradients move it, too: both
        can meet in a solution that says the same of every input.
    Fix: give the optimizer the parameters of the network that learns, not those of all; `requires_grad_(False)` for the
        average, and call it under `torch.no_grad()`.
    Ignore: networks that are trained one by one and pulled towards each other on purpose, as in elastic averaging.
    Thresholds: in at least `steps` = 3 steps it was moved straight towards the trained network by a part of the way between two
        steps, and by as many steps of the same optimizer itself.
    Reported: https://github.com/lucidrains/byol-pytorch/issues/35
    """

    code, severity, topic = "ML340", Severity.WARNING, "optimizer"
    needs = "a network of the same shapes that is moved between steps"
    steps = 3
    bad = _run(9, None, *[0.01] * 8)
    good = (
        _run(0, None, *[0.01] * 8),
        _run(9, None, *[0.0] * 8),  # an ensemble: each is trained for itself
        _run(9, None, *[1.0] * 8),  # begins each round at the common weights
        _run(9, *[None] * 9),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for found in run.followers:
            moved = sum(rate is not None and 1e-6 < rate < 1 - 1e-6 for rate in found.rates)
            if moved < self.steps:
                continue
            if found.stepped >= self.steps:
                message = f"{found.name} averages the weights of another network, and the optimizer steps it as well"
                stepped = Evidence("steps that moved the average", found.stepped, 0)
                rates = Evidence("part of the way to the trained weights", None, series=found.rates)
                yield self.convict(run.place("step"), message, stepped, rates)
            else:
                yield self.passed("a moving average of the weights is moved by nothing else")
