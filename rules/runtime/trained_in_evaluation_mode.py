"""ML329."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.quantities import Batch


def _run(*idle: tuple[str, ...]) -> Run:
    return Run(tuple(Step(index, batch=Batch(idle=names)) for index, names in enumerate(idle)))


class TrainedInEvaluationMode(RuntimeRule):
    """The model is trained in evaluation mode: its dropout or batch norm does not do its work.

    Why: without dropout the network overfits as if there were none; a batch norm in evaluation mode normalises by
        statistics that it no longer learns. `from_pretrained` and many loaders of checkpoints return a model that is
        in evaluation mode.
    Fix: call `model.train()` before each epoch of training.
    Ignore: a linear probe on frozen features, and batch norms that are frozen on purpose: what is not trained is left
        out already, and so is a model that is in training mode as a whole.
    Thresholds: `steps` = in at least 3 steps, and in all since the last that was in training mode, the model was called
        in evaluation mode, and had batch norms whose weights are trained, or dropouts and mostly trained weights.
    Reported: https://github.com/fartashf/vsepp/issues/4
    """

    code, severity, topic = "ML329", Severity.WARNING, "evaluation"
    needs = "a call of the model with gradients at three steps"
    steps = 3
    bad = (_run(*[("dropout",)] * 5), _run((), (), ("norm",), ("norm",), ("norm",)))
    good = (_run(*[()] * 5), _run(("norm",), (), (), (), ()), _run(("norm",), ("norm",)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        idle = [step.batch.idle for step in run.steps if step.batch]
        if len(idle) < self.steps:
            return
        names = idle[-1]
        if all(idle[-self.steps :]):
            series = tuple(map(len, idle))
            evidence = Evidence("dropouts and batch norms in evaluation mode at a step", len(names), 0, series=series)
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            message = f"the model is trained in evaluation mode: no dropout or batch norm works in `{names[0]}`{more}"
            yield self.convict(run.place("model"), message, evidence)
        elif not any(idle):
            yield self.passed("the model is trained in training mode")
