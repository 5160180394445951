"""ML323."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Parameter


def _run(*apart: float, ranks: int = 2) -> Run:
    steps = tuple(Step(index, apart={"head.weight": value, "body.weight": 0.0}) for index, value in enumerate(apart))
    return Run(steps=steps, ranks=ranks, parameters=(Parameter("head.weight"), Parameter("body.weight")))


class RankDivergence(RuntimeRule):
    """The replicas of the model are not the same on all ranks.

    Why: data-parallel ranks average their gradients because they hold one and the same model; replicas that start
        from other weights, or whose gradients are not averaged, are different models that are saved as one.
    Fix: wrap the model in DistributedDataParallel and call the wrapper, not `model.module`, in the training step;
        change weights only on all ranks alike, or broadcast them after; give all parameters a gradient on every rank.
    Ignore: local SGD and the like, which average the weights every some steps, and model-parallel parts that are
        meant to differ.
    Thresholds: `apart` = before some step after the first the sums of a parameter's values over the ranks differ by
        more than a millionth of its norm; replicas that DistributedDataParallel keeps are bitwise the same.
    Reported: https://github.com/iCog-Labs-Dev/PC-Transformers/pull/135
    """

    code, severity, topic = "ML323", Severity.ERROR, "distributed"
    needs = "the parameters of at least two ranks at two steps"
    apart = 1e-6
    bad = (_run(0.0, 1e-3, 2e-3, 3e-3), _run(0.7, 0.7, 0.71))
    good = (
        _run(0.0, 0.0, 0.0),
        _run(0.3, 0.0, 0.0),  # the first step found what the wrapper was about to broadcast
        _run(ranks=1),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        steps = [step for step in run.steps if step.apart]
        later = [step for step in steps if step.index]
        if run.ranks < 2 or not later:
            return
        worst, name = max((value, name) for step in later for name, value in step.apart.items())
        if worst > self.apart:
            yield self._finding(run, steps, name, worst)
        else:
            yield self.passed(f"the replicas on {run.ranks} ranks are the same", worst)

    def _finding(self, run: Run, steps: list[Step], name: str, worst: float) -> Diagnostic:
        series = tuple(step.apart.get(name) for step in steps)
        evidence = Evidence(f"difference of {name} between ranks / its norm", worst, self.apart, series=series)
        owner = next((p for p in run.parameters if p.name == name), Parameter(name))
        message = f"{run.ranks} ranks train different models: they differ most in {name}"
        return self.convict(run.place("model", owner.module or None), message, evidence)
