"""ML339."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Follower


def _run(*rates: float | None, pulls: tuple[float | None, ...] = ()) -> Run:
    return Run(steps=(Step(),), followers=(Follower("Encoder", rates=rates, pulls=pulls),))


class BrokenAverage(RuntimeRule):
    """The moving average of the weights is hardly more than their last value, moves away from them, or moves them itself.

    Why: an average over many steps moves by a small part of the way in each, such as 0.005. With the decay and its
        complement swapped it moves by 0.995 and forgets all but the last step: a target network chases itself, a teacher
        says what its student says. With a wrong sign it runs away from the weights, faster and faster, and the loss shows
        nothing of it. With the two networks swapped, what has been learned is taken back after every step.
    Fix: `average = decay * average + (1 - decay) * weights`, or `average.lerp_(weights, 1 - decay)`, with a decay near 1.
    Ignore: a copy after every step, which moves all of the way, is taken to be meant; a decay that warms up moves less each time.
    Thresholds: in the last `steps` = 5 steps a network of the same names and shapes was moved straight towards the trained one,
        each time by the same part of the way (within 0.01, and not by less each time), from `least` = 0.9 up to 0.99999; or by less
        than nothing. Or the trained one was moved straight to the other, each time by at least `half` = 0.5 of the way.
    Reported: https://github.com/ostris/ai-toolkit/issues/1034, https://github.com/huggingface/diffusers/issues/1864
    """

    code, severity, topic = "ML339", Severity.WARNING, "optimizer"
    needs = "a network of the same shapes that is moved between steps"
    steps, least, half = 5, 0.9, 0.5
    bad = (
        _run(None, *[0.995] * 5),
        _run(None, None, *[0.95] * 5),
        _run(None, *[-0.01] * 5),
        _run(*[0.0] * 6, pulls=(None, *[0.995] * 5)),
    )
    good = (
        _run(None, *[0.005] * 9),
        _run(None, *[1.0] * 9),  # copied
        _run(None, *[1 - (1 + n) / (10 + n) for n in range(1, 10)]),  # warms up
        _run(None, *[1 - 0.5 ** (20 / n) for n in range(1, 10)]),
        _run(None, *[math.exp(-n / 2000) for n in range(1, 10)]),  # so slowly that a few steps look alike
        _run(None, 0.995, 0.995, 0.995),
        _run(None, *[0.0] * 4, 1.0, *[0.0] * 4),
        _run(None, *[0.0, 0.0, 0.0, 0.0, 0.5] * 2, pulls=(None, *[0.0, 0.0, 0.0, 0.0, 1.0] * 2)),  # looks ahead
        _run(None, *[0.01] * 9, pulls=(None, *[0.01] * 9)),  # elastic averaging
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for found in run.followers:
            last, pulls = self._last(found.rates), self._last(found.pulls)
            if pulls and min(pulls) >= self.half:
                evidence = Evidence("part of the way back, between two steps", pulls[-1], self.half, series=found.pulls)
                message = f"what {found.name} has learned is taken back after each step: it is moved to the network that follows it"
                yield self.convict(run.place("step"), message, evidence)
            elif last and (what := self._fault(last)):
                evidence = Evidence("part of the way to the trained weights", last[-1], self.least, series=found.rates)
                yield self.convict(run.place("step"), f"this average of {found.name} {what}", evidence)
            elif last:
                yield self.passed("a moving average of the weights is moved by a part of the way", last[-1], self.least)

    def _last(self, rates: Sequence[float | None]) -> list[float]:
        """The last ones, if it was moved each time."""
        last = [rate for rate in rates[-self.steps :] if rate]
        return last if len(last) == self.steps else []

    def _fault(self, rates: Sequence[float]) -> str:
        if max(rates) < -1e-6:
            return "moves away from the trained weights"
        warms_up = all(earlier > later for earlier, later in itertools.pairwise(rates))
        same = max(rates) - min(rates) < 0.01 and not warms_up
        if same and self.least <= min(rates) and max(rates) < 0.99999:
            return f"is moved by {rates[-1]:.3g} of the way to the trained weights in each step: it keeps nothing"
        return ""
