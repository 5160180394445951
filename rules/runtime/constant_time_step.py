"""ML347."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.noise import is_noise
from modellint.measure.quantities import Distribution, Pair, Times


def _pair(*, noise: bool = True) -> Pair:
    target = Distribution(mean=0.01, std=0.99 if noise else 0.2)
    return Pair((64, 2), (64, 2), target=target, kurtosis=3.1)


def _run(high: float, *, whole: bool = True, noise: bool = True) -> Run:
    times = Times(samples=16, low=0.0, high=high, whole=whole, shaped=True)
    return Run(tuple(Step(index, times=times, pair=_pair(noise=noise)) for index in range(10)))


class ConstantTimeStep(RuntimeRule):
    """Every time step that a diffusion model is given is 0: it learns one level of noise only.

    Why: a random time that is rounded before it is scaled (`torch.rand(n).long() * T`, `u // total * T`) is 0 for each sample. The
        model sees data with next to no noise, its loss looks as it should, and sampling begins where it has never been.
    Fix: `torch.randint(0, T, (n,))`, or scale first and round then.
    Ignore: a network of which only one level is wanted, or a curriculum that begins with it. Where the targets are no noise or not
        of the shape of what the model is given, or the times no integers, it is a note: standardised outcomes may look like noise.
    Thresholds: in at least `steps` = 5 steps of at least `samples` = 32 samples together a module whose `forward` names a time is
        given one number for each sample, and all are 0; and the targets of the loss are standard normal noise,
        of the shape of what it is given besides.
    Reported: https://github.com/TencentARC/T2I-Adapter/issues/126
    """

    code, severity, topic = "ML347", Severity.WARNING, "data"
    needs = "a model that is given a time for each sample, in five steps"
    steps, samples = 5, 32
    bad = (_run(0.0), _run(0.0, noise=False))
    good = (_run(999.0), _run(0.7, whole=False), Run((Step(),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        timed = [step for step in run.steps if step.times is not None]
        times = [step.times for step in timed if step.times is not None]
        if len(times) < self.steps or sum(each.samples for each in times) < self.samples:
            return
        if any(each.low or each.high for each in times):
            yield self.passed("the time steps that the model is given differ")
            return
        noisy = is_noise(step.pair for step in timed)
        sure = noisy and all(each.whole and each.shaped for each in times)
        severity = self.severity if sure else Severity.NOTE
        evidence = Evidence("largest time step of all samples", 0.0, 0.0)
        yield self.convict(run.place("model"), "each sample is given the time step 0", evidence, severity=severity)
