"""ML301."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step


class NonFinite(RuntimeRule):
    """The loss, a gradient or a weight is no longer a finite number.

    Why: one NaN gradient makes every weight that it updates NaN, and nothing that follows is training.
    Fix: look at the operation behind the first value named: sqrt or norm at 0, log or division by 0, exp of a large
        score, a mean over no rows; add an epsilon inside it, or mask before it and not after. If the losses grew
        for some steps before, it is divergence: lower the learning rate, clip the gradients, normalise.
    Ignore: steps that a gradient scaler skips are left out already: the first scales of fp16 training overflow on
        purpose. So are infinite logits whose loss is finite: classes are masked that way.
    Reported: https://github.com/pytorch/pytorch/issues/2421
    """

    code, severity, topic = "ML301", Severity.ERROR, "gradients"
    explains = ("loss-not-falling", "cannot-overfit")
    remedy = ("lower-lr", "clip", "standardise-input")
    bad = (
        Run(steps=(Step(loss=0.08, non_finite=("gradient of encoder.weight",)), Step(index=1, loss=math.nan))),
        Run(steps=(Step(loss=2.3), Step(index=1, loss=math.inf, non_finite=("loss",)))),
    )
    good = (
        Run(steps=(Step(loss=2.3, skipped=True, non_finite=("gradient of body.weight",)), Step(index=1, loss=2.2))),
        Run(steps=(Step(loss=2.3, non_finite=("logits",)), Step(index=1, loss=2.2))),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        broken = next(((step, faults) for step in run.steps if (faults := _faults(step))), None)
        if broken is not None:
            yield self._finding(run, *broken)
        elif run.steps:
            yield self.passed("losses, gradients and weights are finite")

    def _finding(self, run: Run, step: Step, faults: tuple[str, ...]) -> Diagnostic:
        what = faults[0] if len(faults) == 1 else f"{faults[0]} and {len(faults) - 1} more"
        place = {"loss": "loss", "gradient": "backward"}.get(faults[0].partition(" ")[0], "step")
        evidence = Evidence("loss", step.loss, series=tuple(s.loss for s in run.of(step.optimizer)))
        return self.convict(run.place(place), f"from step {step.index + 1} on not finite: {what}", evidence)


def _faults(step: Step) -> tuple[str, ...]:
    """What is not finite, worst evidence first: the loss, then gradients, then weights."""
    loss = ("loss",) if step.loss is not None and not math.isfinite(step.loss) else ()
    gradients = () if step.skipped else tuple(n for n in step.non_finite if n.startswith("gradient"))
    return (*loss, *gradients, *(n for n in step.non_finite if n.startswith("parameter")))
