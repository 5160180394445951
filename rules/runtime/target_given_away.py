"""ML348."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.noise import is_noise
from modellint.measure.quantities import Distribution, Pair, Times


def _pair(*, noise: bool = True) -> Pair:
    target = Distribution(mean=0.01, std=0.99 if noise else 0.2)
    return Pair((64, 2), (64, 2), target=target, kurtosis=3.1)


def _run(echoes: bool, *, noise: bool = True) -> Run:
    times = Times(samples=16, low=3.0, high=970.0, whole=True, echoes=echoes)
    return Run(tuple(Step(index, times=times, pair=_pair(noise=noise)) for index in range(10)))


class TargetGivenAway(RuntimeRule):
    """A diffusion model is asked for what it is given as its input, such as the noise itself.

    Why: the model is to find the noise in a noisy sample. Given the noise itself it learns to copy, the loss falls to nothing
        within a few hundred steps, and of the data it has seen none.
    Fix: pass the noisy sample: `model(a * x + b * noise, t)`, not `model(noise, t)`.
    Ignore: nothing known. Where the targets are no noise, or no time reaches `levels` = 24, it is a note: an autoencoder may be
        told an hour, a weekday or a treatment as well.
    Thresholds: in at least `steps` = 3 steps a module whose `forward` names a time is given one number for each sample and,
        beside it, a tensor that is the target of the loss, number for number; and those are standard normal noise.
    Reported: https://github.com/irom-princeton/dppo/issues/14
    """

    code, severity, topic = "ML348", Severity.WARNING, "data"
    explains = ("constant-time-step",)
    needs = "a model that is given a time for each sample, and one of torch's losses over single numbers"
    steps, levels = 3, 24
    bad = (_run(echoes=True), _run(echoes=True, noise=False))
    good = (_run(echoes=False), Run((Step(pair=_pair()),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        timed = [step for step in run.steps if step.times is not None and step.pair is not None]
        found = [step for step in timed if step.times is not None and step.times.echoes]
        if len(found) >= self.steps:
            noisy = is_noise(step.pair for step in found)
            evidence = Evidence("steps whose target is an input of the model", len(found), 0, unit="count")
            many = max(step.times.high for step in found if step.times is not None) >= self.levels
            severity = self.severity if noisy and many else Severity.NOTE
            yield self.convict(
                run.place("loss"), "the target of the loss is what the model is given", evidence, severity=severity
            )
        elif len(timed) >= self.steps:
            yield self.passed("the model is not given what it is asked for")
