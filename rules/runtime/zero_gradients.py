"""ML305."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Optimizer, Parameter


def _run(count: int, **gradients: float) -> Run:
    steps = tuple(Step(index, gradients=gradients) for index in range(count))
    return Run(steps=steps, optimizers=(Optimizer(parameters=tuple(gradients)),))


_GATE = (Optimizer(parameters=("gate",)),)


class ZeroGradients(RuntimeRule):
    """Parameters that the optimizer holds never receive a gradient.

    Why: what has no gradient does not learn; when it is half of the network, the rest learns around a fixed random
        part.
    Fix: look for dead ReLUs (all inputs negative), two zero-initialised factors in a row, a detach() or no_grad()
        on the path, and modules that forward() never calls; freeze on purpose with requires_grad_(False) what shall
        not learn.
    Ignore: experts, embeddings or heads that this batch did not use: a few parameters without gradient are only
        noted.
    Thresholds: `share` = half of the parameter tensors with exactly zero gradient from the third step on (0 of 198
        healthy runs); the first two steps are left out, because zero-initialised residual branches start at zero.
    Reported: https://github.com/lucidrains/deep-cross-attention/issues/2
    """

    code, severity, topic = "ML305", Severity.WARNING, "gradients"
    explains = ("loss-not-falling", "identical-outputs", "collapsed-features", "cannot-overfit")
    remedy = ("re-initialise", "unfreeze")
    needs = "gradients of at least three steps"
    share = 0.5
    bad = (
        _run(5, **{"body.weight": 0.0, "body.bias": 0.0, "readout.weight": 0.0, "readout.bias": 0.3}),
        _run(5, **{"body.weight": 1.0, "body.bias": 1.0, "pooler.weight": 0.0}),
    )
    good = (
        _run(5, **{"body.weight": 1e-7, "readout.weight": 0.1}),
        _run(2, lora_a=0.0, lora_b=0.1),
        Run(steps=tuple(Step(i, gradients={"gate": 0.1 * (i > 1)}) for i in range(5)), optimizers=_GATE),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        frozen = {parameter.name for parameter in run.parameters if not parameter.requires_grad}
        for index, optimizer in enumerate(run.optimizers):
            late = [step for step in run.of(index) if step.index >= 2 and step.gradients]
            trained = [name for name in optimizer.parameters if name not in frozen]
            silent = [name for name in trained if not any(step.gradients.get(name) for step in late)]
            if late and silent:
                yield self._finding(run, silent, len(trained))
            elif late:
                yield self.passed("every trainable parameter receives a gradient", f"{len(trained)} of {len(trained)}")

    def _finding(self, run: Run, silent: list[str], total: int) -> Diagnostic:
        count = len(silent)
        owner = next((p for p in run.parameters if p.name == silent[0]), Parameter(silent[0]))
        evidence = Evidence("parameter tensors without gradient", count / total, self.share, unit="share")
        return self.convict(
            owner.location if owner.location.path else run.place("backward", owner.module or None),
            f"{count} of {total} parameter tensors never receive a gradient, first {silent[0]}",
            evidence,
            severity=None if count >= self.share * total else Severity.NOTE,
        )
