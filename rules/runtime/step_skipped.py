"""ML324."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer
from modellint.measure.stepping import never

_STEPPED = Optimizer("Adam", 1e-3, ("generator.weight",), backwards=10)


def _run(idle: Optimizer) -> Run:
    return Run(steps=tuple(Step(index) for index in range(10)), optimizers=(_STEPPED, idle))


class StepSkipped(RuntimeRule):
    """An optimizer never steps, although every backward() gives its parameters a gradient.

    Why: what it holds stays as it was initialised, while the rest is trained around it.
    Fix: call its `step()` next to that of the other optimizer, and its `zero_grad()`, too.
    Ignore: when its turn comes later, as that of a generator whose critic is trained first: hence a note, unless
        reading the script finds no step() either.
    Thresholds: no step of its own within the watched steps of another optimizer, 5 or more calls of
        backward() that reached its parameters, and none of these held by an optimizer that steps.
    Reported: https://github.com/pytorch/pytorch/issues/3814
    """

    code, severity = "ML324", Severity.NOTE
    needs = "two optimizers"
    bad = _run(Optimizer("Adam", 1e-3, ("encoder.weight",), backwards=10))
    good = (
        _run(Optimizer("Adam", 1e-3, ("encoder.weight",), backwards=0)),  # its turn has not come
        _run(Optimizer("SGD", 1e-3, ("generator.weight",), backwards=10)),  # replaced by the one that steps
        _run(_STEPPED),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        found = list(never(run))
        yield from map(self._finding, found)
        if len(run.optimizers) > 1 and not found:
            yield self.passed("every optimizer that is given gradients steps", len(run.optimizers))

    def _finding(self, made: Optimizer) -> Diagnostic:
        evidence = Evidence("calls of backward() that gave its parameters a gradient", made.backwards, 0)
        return self.convict(made.location, f"this {made.name} never steps", evidence)
