"""ML316."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer
from modellint.measure.updates import largest


def _run(*updates: Mapping[str, float], rate: float = 0.0, skipped: bool = False) -> Run:
    return Run(
        steps=tuple(
            Step(index, updates=found, gradients=dict.fromkeys(found, 0.3), learning_rate=rate, skipped=skipped)
            for index, found in enumerate(updates)
        ),
        optimizers=(Optimizer("SGD", rate),),
    )


class FrozenWeights(RuntimeRule):
    """The optimizer steps, and no weight changes.

    Why: everything is computed and nothing is learned: the learning rate is zero, the update is rounded away, or what
        the optimizer holds are copies.
    Fix: look at the learning rate that is measured here and at the scheduler that sets it; train bfloat16 models with
        float32 weights (autocast); pass `model.parameters()` after the model was moved and built.
    Ignore: a first step of a warm-up that begins at zero is left out already.
    Thresholds: every tensor of the optimizer is bitwise the same after each of at least `steps` = 3 steps that were
        not skipped. ALL of them: single ones stay in healthy runs, as the bias before a batch norm.
    Reported: https://github.com/pytorch/pytorch/issues/3358
    """

    code, severity = "ML316", Severity.ERROR
    explains = ("loss-not-falling",)
    remedy = ("unfreeze", "keep-gradients", "raise-lr")
    needs = "the updates of three steps"
    steps = 3
    bad = (_run(*[{"a": 0.0, "b": 0.0}] * 4), _run(*[{"a": 0.0}] * 3, rate=1e-9))
    good = (
        _run(*[{"a": 0.0, "b": 1e-9}] * 4, rate=1e-9),
        _run({"a": 0.0}, {"a": 1e-5}, {"a": 2e-5}),
        _run(*[{"a": 0.0}] * 4, skipped=True),
        Run(steps=(Step(0, updates={}),) * 4, optimizers=(Optimizer(),)),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        for index, optimizer in enumerate(run.optimizers):
            steps = [step for step in run.of(index) if not step.skipped]
            series = tuple(largest(step) for step in steps)
            measured = [ratio for ratio in series if ratio is not None]
            if len(measured) < self.steps:
                continue
            if any(measured):
                yield self.passed("the optimizer changes the weights", max(measured))
            else:
                yield self._finding(optimizer, steps, series)

    def _finding(self, made: Optimizer, steps: Sequence[Step], series: tuple[float | None, ...]) -> Diagnostic:
        rates = tuple(step.learning_rate for step in steps)
        known = [rate for rate in rates if rate is not None]
        why = f" at a learning rate of {max(known):g}" if known else ""
        message = f"no weight changes in {len(steps)} steps{why}"
        largest_update = Evidence("largest norm of an update / norm of the weight", 0.0, 0.0, series=series)
        rate = Evidence("learning rate", max(known, default=None), series=rates)
        return self.convict(made.location, message, largest_update, *([rate] if known else ()))
