"""ML346."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step


def _run(*radii: float | None, weight: float = 1.0) -> Run:
    steps = (Step(index, climbs=(None, radius), backwards=2, loss_weight=weight) for index, radius in enumerate(radii))
    return Run(tuple(steps))


class AscentNotCleared(RuntimeRule):
    """Sharpness-aware training adds the gradients at the worst point to those that led there.

    Why: the first gradients only say where the worst point of the neighbourhood is; the step is to be made with those found there.
        Left in place they are added up, the step is half an ordinary one, and the flat minimum that twice the time is paid for is
        not looked for.
    Fix: clear the gradients between the two passes: `optimizer.first_step(zero_grad=True)`, or `optimizer.zero_grad()` before the
        second forward pass.
    Ignore: when the sum of both gradients is what is wanted. A mean is left out as far as it shows: the gradients are scaled
        between the passes, or the loss of a step of n passes is multiplied by 1 / n or less.
    Thresholds: in at least `steps` = 3 steps a second backward() finds gradients, and the weights moved straight up them since the
        first (to 1 in 100, over all parameters with one factor), each time equally far (within `apart` = 2 %). Moves of embeddings
        alone, also where there is nothing else, or of each layer by its own measure, as adversarial training makes them, are no
        such steps.
    Reported: https://github.com/rollovd/LookSAM/issues/3
    """

    code, severity, topic = "ML346", Severity.WARNING, "gradients"
    needs = "two calls of backward() in a step, with a move of the weights between them"
    steps, apart = 3, 0.02
    bad = _run(0.05, 0.05, 0.05)
    good = (_run(None, None, None), _run(0.05, 0.4, 0.01), _run(0.05, 0.05, 0.05, weight=0.5))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        summed = (step for step in run.steps if step.loss_weight is None or step.loss_weight * step.backwards > 1)
        radii = tuple(radius for step in summed for radius in step.climbs if radius is not None)
        if len(radii) >= self.steps and max(radii) <= (1 + self.apart) * min(radii):
            message = "the gradients that led to the worst point are added to those found there"
            evidence = Evidence(
                "distance that the weights were moved up the gradients still there", radii[-1], 0.0, series=radii
            )
            yield self.convict(run.place("backward"), message, evidence)
