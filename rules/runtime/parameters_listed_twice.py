"""ML334."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer


def _run(*repeated: str) -> Run:
    return Run(steps=(Step(),), optimizers=(Optimizer("SGD", 0.1, ("body", "head"), repeated=repeated),))


class ParametersListedTwice(RuntimeRule):
    """An optimizer is given some parameters twice.

    Why: they are stepped twice with each gradient: their learning rate is twice the others', their momentum and weight
        decay count double, and nothing says so but a warning of PyTorch.
    Fix: hand each parameter over once: `model.parameters()` holds those of all its parts.
    Ignore: never; for another learning rate of a part make groups that share nothing.
    Reported: https://github.com/pytorch/pytorch/issues/40967
    """

    code, severity, certain, topic = "ML334", Severity.WARNING, True, "optimizer"
    twins = ("optimizer-parameters",)
    needs = "an optimizer"
    bad = _run("head")
    good = (
        _run(),
        Run(steps=(Step(),), optimizers=(Optimizer("SGD", 0.1, ("body",)),) * 2),  # once in each of two
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for made in run.optimizers:
            if made.repeated:
                more = f" and {len(made.repeated) - 1} more" if len(made.repeated) > 1 else ""
                message = f"this {made.name} holds {made.repeated[0]}{more} twice"
                yield self.convict(made.location, message, Evidence("parameters held twice", len(made.repeated), 0))
