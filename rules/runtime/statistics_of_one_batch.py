"""ML342."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.diagnostic import Location
from modellint.measure.cast import Model


def _run(**momenta: float) -> Run:
    return Run(steps=(Step(),), model=Model("Net", location=Location("train.py", 4), momenta=momenta))


class StatisticsOfOneBatch(RuntimeRule):
    """The running statistics of a batch norm are those of its last batch.

    Why: in PyTorch the momentum of a batch norm is the weight of the new batch, 1 minus that of TensorFlow and Keras. With 0.99
        nothing but the last training batch is left in the statistics, by which every evaluation normalises: its results
        change with whatever batch came last.
    Fix: `momentum=0.01` for what Keras calls 0.99; leave it out for the default of 0.1.
    Ignore: a momentum that a schedule lowers soon; one of exactly 1 says that the last batch is meant, and is silent.
    Thresholds: a trained batch norm in training mode whose momentum is from `largest` = 0.9 up to, and without, 1.
    Reported: https://github.com/pytorch/vision/issues/8250
    """

    code, severity, topic = "ML342", Severity.WARNING, "structure"
    twins = ("batchnorm-momentum",)
    needs = "a batch norm that is trained"
    largest = 0.9
    bad = (_run(norm=0.99), _run(first=0.1, second=0.9))
    good = (_run(norm=0.1), _run(norm=1.0), _run(norm=0.0), _run())

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        momenta = run.model.momenta if run.model is not None else {}
        high = {name: momentum for name, momentum in momenta.items() if self.largest <= momentum < 1}
        if run.model is not None and high:
            name, more = next(iter(high)), f" and {len(high) - 1} more" if len(high) > 1 else ""
            message = f"the batch norm `{name}`{more} keeps only the last batch's statistics"
            evidence = Evidence("weight of the last batch in the running statistics", high[name], self.largest)
            yield self.convict(run.model.location, message, evidence)
        elif momenta:
            yield self.passed("batch norms average over many batches", max(momenta.values()), self.largest)
