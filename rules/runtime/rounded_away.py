"""ML343."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer
from modellint.measure.trajectory import warms_up


def _run(*stuck: float | None, rates: tuple[float, ...] = (2e-5,)) -> Run:
    steps = [Step(n, stuck=share, learning_rate=rates[min(n, len(rates) - 1)]) for n, share in enumerate(stuck)]
    return Run(tuple(steps), optimizers=(Optimizer("AdamW", rates[-1]),))


class RoundedAway(RuntimeRule):
    """The weights are kept in half precision, and what the optimizer adds to most of them is rounded away.

    Why: a bfloat16 number has 8 bits: to become its neighbour it must change by 1/256 of itself or more. A step of 1e-5 leaves
        a weight of 0.05 as it is, each time: nothing is added up, and only the smallest weights learn.
    Fix: keep the weights in float32 and compute in bfloat16 under `torch.autocast`; or use an optimizer that rounds at random or
        keeps what is lost (Kahan summation). A larger learning rate helps, too.
    Ignore: a short polishing of trained weights, of which the smallest may be enough. Optimizers that are not PyTorch's own are
        left out, as they may do all this.
    Thresholds: in every one of at least `steps` = 5 steps, none of which is part of a warm-up, at least `share` = 0.9 of the
        elements that had a gradient stayed bitwise the same. In five families at eight learning rates the runs whose loss fell
        had a step with 0.81 or less, and those whose loss stood still in bfloat16 had 0.9 to 0.99 in all.
    Reported: https://github.com/meta-pytorch/torchtune/issues/2254
    """

    code, severity, topic = "ML343", Severity.WARNING, "optimizer"
    explains = ("loss-not-falling", "update-too-small")
    remedy = "raise-lr"
    needs = "five steps of weights in half precision, by an optimizer of PyTorch's own"
    steps, share = 5, 0.9
    bad = (_run(*[0.96] * 6), _run(0.93, 0.95, 0.99, 0.98, 0.97))
    good = (
        _run(*[0.3] * 6),
        _run(0.95, 0.95, 0.9, 0.8, 0.6, 0.5),
        _run(*[0.96] * 4),
        _run(*[None] * 6),
        _run(*[0.99] * 6, rates=(1e-6, 2e-6, 3e-6, 4e-6, 5e-6, 6e-6)),  # warms up
        _run(*[1.0] * 6, rates=(0.0,)),  # frozen-weights
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for index, optimizer in enumerate(run.optimizers):
            steps = [step for step in run.of(index) if step.stuck is not None and step.learning_rate]
            shares = tuple(step.stuck for step in steps if step.stuck is not None)
            if len(shares) < self.steps or warms_up(steps):
                continue
            if min(shares) >= self.share:
                evidence = Evidence(
                    "elements with a gradient that a step left as they were", min(shares), self.share, series=shares
                )
                message = (
                    f"in half precision the steps are rounded away: {min(shares):.0%} of the weights stay as they are"
                )
                yield self.convict(optimizer.location, message, evidence)
            else:
                yield self.passed("the steps are large enough for weights in half precision", min(shares), self.share)
