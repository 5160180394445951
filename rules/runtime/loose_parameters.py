"""ML332."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.run import Optimizer, Parameter


def _run(loose: bool, steps: int = 5) -> Run:
    return Run(
        steps=tuple(map(Step, range(steps))),
        parameters=(Parameter("body.weight", optimizer=0), Parameter("head.weight", loose=loose, module="head")),
        optimizers=(Optimizer(),),
    )


class LooseParameters(RuntimeRule):
    """The loss gives gradients to parameters that no optimizer holds.

    Why: their gradients are computed and never used: layers that were added after the optimizer was made, or that are
        kept in a plain list, stay as they were initialised.
    Fix: register modules (`nn.ModuleList`), build the optimizer last and over all of them; what is meant to stay as it
        is gets `requires_grad_(False)`, which saves the gradients, too.
    Ignore: a head that is trained alone on a backbone whose gradients are left on: hence a note, unless reading the
        script finds why.
    Reported: https://github.com/pytorch/pytorch/issues/3358
    """

    code, severity = "ML332", Severity.NOTE
    needs = "the graph of a loss at the third step"
    bad = _run(True)
    good = (_run(False), Run(steps=(Step(2),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        loose = [parameter for parameter in run.parameters if parameter.loose]
        if not run.optimizers or max((step.index for step in run.steps), default=0) < 2:
            return
        if loose:
            yield self._finding(run, loose)
        else:
            yield self.passed("every parameter that the loss reaches is held by an optimizer")

    def _finding(self, run: Run, loose: list[Parameter]) -> Diagnostic:
        first, total = loose[0], sum(parameter.requires_grad for parameter in run.parameters)
        evidence = Evidence("parameter tensors with a gradient that no optimizer holds", len(loose), 0)
        place = first.location if first.location.path else run.place("backward", first.module or None)
        message = f"{len(loose)} of {total} trainable parameter tensors are in no optimizer, first {first.name}"
        return self.convict(place, message, evidence)
