"""ML325."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer, Parameter
from modellint.measure.statistics import median, norm
from modellint.measure.trajectory import no_better_than_guessing

DECOUPLED = ("AdamW", "SGDW", "NAdamW", "RAdamW", "Lion", "Muon", "LAMB", "Adafactor")


def _run(decay: float, gradient: float, weight: float = 10.0, name: str = "SGD", loss: float = 2.3) -> Run:
    step = Step(loss=loss, gradients_at_step={"w": gradient}, weights={"w": weight})
    return Run(
        steps=(step,) * 8,
        optimizers=(Optimizer(name, 0.1, ("w",)),),
        parameters=(Parameter("w", (16, 16), optimizer=0, weight_decay=decay),),
    )


class WeightDecayDominates(RuntimeRule):
    """The weight decay pulls the weights harder than the loss does.

    Why: what the optimizer then minimises is the size of the weights; they shrink towards zero whatever the data say.
    Fix: lower `weight_decay` (1e-4 is usual for SGD). Adam adds it to the gradient before it scales both, so that a
        value made for AdamW (0.01 to 0.1) is far too much there. Leave biases and norms out.
    Ignore: weights that are all but trained, whose gradients have become small. Only noted while the loss falls.
    Thresholds: `ratio` = in the median step the decay term is 10 times the gradient, both as norms over the decayed
        parameters; 1e-4 to 5e-4 under SGD reads 0.001 to 0.1. Optimizers that decay the weights apart from the
        gradient (AdamW and the like) are not judged.
    Reported: https://github.com/Joker316701882/Additive-Margin-Softmax/issues/16
    """

    code, severity = "ML325", Severity.WARNING
    explains = ("loss-not-falling",)
    needs = "weights and gradients of three steps under weight decay"
    ratio = 10.0
    bad = (_run(0.5, 0.2), _run(0.1, 0.01, name="Adam"))
    good = (_run(5e-4, 0.2), _run(0.5, 0.2, name="AdamW"), _run(0.0, 0.0), _run(0.1, 0.0))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for index, made in enumerate(run.optimizers):
            decays = {p.name: p.weight_decay for p in run.parameters if p.optimizer == index and p.weight_decay}
            steps = [step for step in run.of(index) if not step.skipped]
            series = tuple(_ratio(step, decays) for step in steps)
            measured = [ratio for ratio in series if ratio is not None]
            if len(measured) < 3 or _is_decoupled(made):
                continue
            if median(measured) > self.ratio:
                yield self._finding(run, made, steps, series)
            else:
                yield self.passed("weight decay is small against the gradient", median(measured), self.ratio)

    def _finding(
        self, run: Run, made: Optimizer, steps: Sequence[Step], series: tuple[float | None, ...]
    ) -> Diagnostic:
        typical = median(ratio for ratio in series if ratio is not None)
        evidence = Evidence("norm of the decay term / of the gradient", typical, self.ratio, series=series)
        message = f"the weight decay of this {made.name} is {typical:.3g} times the gradient"
        severity = None if no_better_than_guessing(run, steps) else Severity.NOTE
        return self.convict(made.location, message, evidence, severity=severity)


def _is_decoupled(made: Optimizer) -> bool:
    return made.name in DECOUPLED or bool(made.settings.get("decoupled_weight_decay"))


def _ratio(step: Step, decays: Mapping[str, float]) -> float | None:
    """None where the loss gives the decayed parameters no gradient at all: another fault."""
    gradient = norm(step.gradients_at_step.get(name) or 0.0 for name in decays)
    decay = norm(decay * (step.weights.get(name) or 0.0) for name, decay in decays.items())
    return decay / gradient if gradient and math.isfinite(decay) and math.isfinite(gradient) else None
