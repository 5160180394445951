"""ML308."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.clipping import by_place
from modellint.measure.step import Clip


def _run(bound: float, *norms: float) -> Run:
    return Run(steps=tuple(Step(i, loss=2.0, clips=(Clip(bound=bound, norm=n),)) for i, n in enumerate(norms)))


class ClipNeverBinds(RuntimeRule):
    """The bound of a gradient clip lies far above every gradient of the run.

    Why: such a clip protects from nothing but an explosion that has already ruined the step.
    Fix: choose max_norm near the norms of calm steps, or remove the call.
    Ignore: when the bound is meant as a last resort against a single broken batch.
    Thresholds: `share` = no norm above 1/100 of max_norm (0 of 198 healthy runs; the nearest, a DQN, reached
        0.0117). An infinite max_norm is a way to log the norm and is not judged.
    Reported: https://github.com/jongwook/onsets-and-frames/issues/24
    """

    code, severity = "ML308", Severity.NOTE
    needs = "a call that clips a gradient norm other than zero"
    share = 0.01
    bad = _run(1e9, 0.5, 0.7, 0.6, 0.4)
    good = (
        _run(1.0, 0.5, 0.7, 0.02, 0.3),
        _run(10.0, 0.05, 0.117, 0.06, 0.04),
        _run(math.inf, 0.5, 0.7, 0.6, 0.4),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for clips in by_place(run).values():
            yield from self._judge(clips)

    def _judge(self, clips: list[Clip]) -> Iterator[Diagnostic | Passed]:
        norms = tuple(clip.norm for clip in clips if clip.norm is not None and math.isfinite(clip.norm))
        bound = clips[0].bound or 0.0
        if not any(norms):
            return
        if max(norms) >= self.share * bound:
            yield self.passed("the bound of the clip is of the size of the gradients", max(norms), bound)
        else:
            evidence = Evidence("gradient norm at the clip", max(norms), self.share * bound, series=norms)
            yield self.convict(clips[0].location, f"the clip never binds: max_norm is {bound:,g}", evidence)
