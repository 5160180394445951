"""ML330."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity
from modellint.core.diagnostic import Location
from modellint.measure.run import Evaluation


def _run(*active: str, line: int = 30, graphs: bool = False) -> Run:
    return Run(evaluations=(Evaluation(20, graphs, active, Location("train.py", line)),))


class EvaluatedInTrainingMode(RuntimeRule):
    """The model is evaluated in training mode: its dropout or batch norm is at work.

    Why: dropout drops units and batch norm normalises by the batch at hand, and updates its running statistics
        with the test data: the measured quality is that of another model.
    Fix: call `model.eval()` before each evaluation, and `model.train()` before the next epoch.
    Ignore: Monte Carlo dropout and an estimate of batch statistics are left out as far as they show: the same batch many
        times, and norms without momentum.
    Thresholds: at least three calls of the trained model with different batches and without gradients, one after the
        other and in one line, that no backward() followed. Or, where all data is one batch such as a graph: in at least three
        steps up to three calls without gradients of what was trained on, the same each time, between the step and the next
        `train()`; there batch norms alone are left out, as they normalise by all data in both modes.
    Reported: https://github.com/pytorch/tutorials/issues/1624, https://github.com/dmlc/dgl/issues/731
    """

    code, severity, topic = "ML330", Severity.WARNING, "evaluation"
    needs = "an evaluation of three batches: `--windows 2` waits for it"
    bad = _run("dropout", "norm")
    good = (_run(), _run(graphs=True), Run())

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for found in run.evaluations:
            if found.active and not found.graphs:
                more = f" and {len(found.active) - 1} more" if len(found.active) > 1 else ""
                message = f"an evaluation runs in training mode: `{found.active[0]}`{more} is at work"
                evidence = Evidence("dropouts and batch norms in training mode", len(found.active), 0)
                yield self.convict(found.location, message, evidence)
            elif not found.active:
                yield self.passed("the model is evaluated in evaluation mode")
