"""ML306."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.trajectory import each_optimizer


def _run(*entries: tuple[float, ...]) -> Run:
    """A step for each tuple of gradient norms that backward() found when it began."""
    return Run(steps=tuple(Step(index, norms_at_backward=norms) for index, norms in enumerate(entries)))


class StaleGradients(RuntimeRule):
    """Gradients of earlier steps are still there when backward() adds those of the next step.

    Why: backward() adds to what it finds, so every step follows the sum of all gradients so far: an old direction
        that grows with each step, like a momentum without decay.
    Fix: call optimizer.zero_grad() once for each step(), before backward() or right after step().
    Ignore: when the sum over all steps is what the method asks for.
    Thresholds: in at least `steps` = 2 steps after the first, no backward() between two steps of the optimizer
        found its gradients cleared. (Only the first backward() after a step: 4 false alarms in 129 healthy runs, on
        GANs and TD3, where another loss passes through these weights first; every backward(): none.)
    Reported: https://github.com/wenet-e2e/wekws/pull/73
    """

    code, severity, topic = "ML306", Severity.WARNING, "gradients"
    explains = ("update-too-large", "exploding-gradients", "loss-not-falling")
    remedy = "zero-grad"
    needs = "gradient norms at backward() in at least three steps"
    steps = 2
    bad = _run((0.0,), (0.7,), (1.2,), (1.7,))
    good = (
        _run((0.0,), (0.0,), (0.0,)),
        _run((0.0, 0.2, 0.4), (0.0, 0.3, 0.5), (0.0, 0.1, 0.2)),  # accumulation over micro-batches
        _run((0.9, 0.0), (0.8, 0.0), (0.7, 0.0)),  # the generator's loss passes through the discriminator first
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        later = [[step for step in steps[1:] if step.norms_at_backward] for steps in each_optimizer(run)]
        judged = [steps for steps in later if len(steps) >= self.steps]
        stale = next((steps for steps in judged if sum(map(_never_cleared, steps)) >= self.steps), None)
        if stale:
            yield self._finding(run, stale)
        elif judged:
            yield self.passed("gradients are cleared between steps")

    def _finding(self, run: Run, steps: list[Step]) -> Diagnostic:
        kept = tuple(min(step.norms_at_backward) for step in steps)
        evidence = Evidence("gradient norm that backward() found", max(kept), 0.0, series=kept)
        times = sum(map(_never_cleared, steps))
        message = f"gradients were never cleared before {times} of {len(steps)} steps"
        return self.convict(run.place("step"), message, evidence)


def _never_cleared(step: Step) -> bool:
    return min(step.norms_at_backward) > 0
