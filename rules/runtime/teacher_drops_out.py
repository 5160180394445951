"""ML341."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.diagnostic import Location
from modellint.measure.run import Batch, Bystander


def _run(steps: int, *dropouts: str, shape: tuple[int, ...] = (8, 3)) -> Run:
    asked = Bystander("Teacher", dropouts, steps, ((8, 3),), Location("train.py", 30))
    return Run(tuple(Step(index, batch=Batch(shape=shape)) for index in range(10)), bystanders=(asked,))


class TeacherDropsOut(RuntimeRule):
    """A network that is only asked, such as a teacher, is in training mode: its dropout is at work.

    Why: each answer is that of another, crippled network. The student learns its noise, and the same input is given other
        targets each time.
    Fix: `teacher.eval()`, again after each `train()` of a module that holds it.
    Ignore: a teacher that is to be noisy. Averages of the student are left out, as noise is a part of some such methods,
        and so are frozen parts of the trained model.
    Thresholds: in at least `steps` = 3 steps a network was called whose parameters are frozen, or that was asked without
        gradients, that no optimizer holds, whose shapes are not those of a trained one, and that is given what the trained one
        is given: another may be the frozen body under a trained head.
    Reported: https://github.com/yxuansu/TaCL/issues/11
    """

    code, severity, topic = "ML341", Severity.WARNING, "evaluation"
    needs = "a network beside the trained one that has dropouts in training mode"
    steps = 3
    bad = _run(10, "0.drop", "1.drop")
    good = (_run(1, "0.drop"), _run(10, "0.drop", shape=(8, 64)), Run(steps=(Step(),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        given = {step.batch.shape for step in run.steps if step.batch is not None}
        for asked in run.bystanders:
            if asked.steps >= self.steps and given.intersection(asked.shapes):
                more = f" and {len(asked.dropouts) - 1} more" if len(asked.dropouts) > 1 else ""
                message = (
                    f"{asked.name} is not trained and asked in training mode: `{asked.dropouts[0]}`{more} is at work"
                )
                evidence = Evidence("steps that asked it with its dropout at work", asked.steps, 0)
                yield self.convict(asked.location, message, evidence)
