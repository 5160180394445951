"""ML322."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.trajectory import each_optimizer


def _run(skipped: str, start: float = 65536.0, loss: float = 2.3) -> Run:
    """A step for each letter: S was skipped, and halved the scale."""
    scales = [start / 2 ** skipped[:index].count("S") for index in range(len(skipped))]
    pairs = zip(scales, skipped, strict=True)
    return Run(tuple(Step(i, loss=loss, loss_scale=s, skipped=letter == "S") for i, (s, letter) in enumerate(pairs)))


class LossScaleSkips(RuntimeRule):
    """The gradient scaler skips most steps: the scaled gradients overflow again and again.

    Why: a skipped step trains nothing. Some at the start are how a scaler finds its scale; when they do not end, a
        gradient is infinite or NaN whatever it is multiplied by, and the scale is halved until it is zero.
    Fix: look for the operation that overflows in float16 (exp, a sum over many, a division by a small number) and run
        it in float32, or use bfloat16, which needs no scaler; find the NaN with the scaler switched off.
    Ignore: the first steps after a start from a very large scale.
    Thresholds: of at least `steps` = 5 steps more than `share` = half were skipped and the last was, too; an error once
        the scale is below 1, where float16 itself has the range. The usual scale of 65,536 skips 2 or 3 steps on
        healthy models.
    Reported: https://github.com/NVIDIA/apex/issues/318
    """

    code, severity, topic = "ML322", Severity.WARNING, "gradients"
    explains = ("loss-not-falling", "frozen-weights")
    needs = "five steps under a gradient scaler"
    steps, share = 5, 0.5
    bad = (_run("SSSSSSSS"), _run("S.SS.SSS"), _run("SSSSS", start=4.0))
    good = (_run("SSS......."), _run(".........S"), Run(steps=(Step(loss=2.3),) * 8))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for steps in each_optimizer(run):
            scaled = [step for step in steps if step.loss_scale is not None]
            skipped = sum(step.skipped for step in scaled)
            if len(scaled) < self.steps:
                continue
            if skipped > self.share * len(scaled) and scaled[-1].skipped:
                yield self._finding(run, scaled, skipped)
            else:
                yield self.passed("the gradient scaler skips few steps", f"{skipped} of {len(scaled)}")

    def _finding(self, run: Run, steps: Sequence[Step], skipped: int) -> Diagnostic:
        scale = steps[-1].loss_scale or 0.0
        share = Evidence("skipped steps", skipped / len(steps), self.share, unit="share")
        scales = Evidence("loss scale", scale, 1.0, holds=scale < 1, series=tuple(step.loss_scale for step in steps))
        hopeless = scale < 1 or any(step.loss is not None and not math.isfinite(step.loss) for step in steps)
        message = f"the gradient scaler skipped {skipped} of {len(steps)} steps; its scale is down to {scale:g}"
        return self.convict(run.place("step"), message, share, scales, severity=Severity.ERROR if hopeless else None)
