"""ML341."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.core.diagnostic import Location
from modellint.measure.cast import Bystander
from modellint.measure.quantities import Batch


def _run(steps: int, *dropouts: str, norms: tuple[str, ...] = (), shape: tuple[int, ...] = (8, 3)) -> Run:
    asked = Bystander("Teacher", dropouts, norms, steps, ((8, 3),), Location("train.py", 30))
    return Run(tuple(Step(index, batch=Batch(shape=shape)) for index in range(10)), bystanders=(asked,))


class TeacherDropsOut(RuntimeRule):
    """A network that is only asked, such as a teacher, is in training mode: its dropout or batch norm is at work.

    Why: with dropout each answer is that of another, crippled network. The student learns its noise, and the same input is given
        other targets each time. With batch norm the answer depends on the other samples of the batch, and the statistics
        drift from those that it was trained with.
    Fix: `teacher.eval()`, again after each `train()` of a module that holds it.
    Ignore: a teacher that is to be noisy. Averages of the student are left out, as noise is a part of some such methods,
        and so are frozen parts of the trained model.
    Thresholds: in at least `steps` = 3 steps a network was called whose parameters are frozen, or that was asked without
        gradients, that no optimizer holds, whose shapes are not those of a trained one, and that is given what the trained one
        is given: another may be the frozen body under a trained head, and so may one whose answers the trained one is given. One
        that is asked the same twice in a step is asked for draws. Batch norms alone are a note: some methods normalise the
        teacher by the batch on purpose.
    Reported: https://github.com/yxuansu/TaCL/issues/11, https://github.com/neuralmagic/sparseml/pull/2191
    """

    code, severity, topic = "ML341", Severity.WARNING, "evaluation"
    needs = "a network beside the trained one that has dropouts or batch norms in training mode"
    steps = 3
    bad = (_run(10, "0.drop", "1.drop"), _run(10, norms=("0.norm",)))
    good = (_run(1, "0.drop"), _run(10, "0.drop", shape=(8, 64)), _run(2, norms=("0.norm",)), Run(steps=(Step(),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        given = {step.batch.shape for step in run.steps if step.batch is not None}
        for asked in run.bystanders:
            if asked.steps >= self.steps and given.intersection(asked.shapes):
                active = asked.dropouts or asked.norms
                more = f" and {len(active) - 1} more" if len(active) > 1 else ""
                message = f"{asked.name} is not trained and asked in training mode: `{active[0]}`{more} is at work"
                evidence = Evidence("steps that asked it so", asked.steps, 0, unit="count")
                severity = None if asked.dropouts else Severity.NOTE
                yield self.convict(asked.location, message, evidence, severity=severity)
