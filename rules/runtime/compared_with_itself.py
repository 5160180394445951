"""ML344."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.quantities import Logits


def _run(meets: bool, labels: Sequence[int]) -> Run:
    logits = Logits(len(labels), len(labels), meets_itself=meets)
    return Run(tuple(Step(n, logits=logits, labels=tuple(labels)) for n in range(4)))


class ComparedWithItself(RuntimeRule):
    """A contrastive loss holds each sample against itself.

    Why: nothing is as similar to a sample as the sample. As its positive it is found without learning anything; among the
        negatives it takes most of the softmax, and no gradient can push it away.
    Fix: compare one view with the other (`a @ b.T`); where both are in one matrix, fill its diagonal with `-inf` before the loss.
    Ignore: nothing known.
    Thresholds: in at least `steps` = 3 steps what enters the loss over classes is a square of at least 8 rows that is symmetric,
        with the same number all along its diagonal, above all others (to 1 in 10,000).
    Reported: https://github.com/Lightning-Universe/lightning-bolts/issues/695
    """

    code, severity, topic = "ML344", Severity.WARNING, "loss"
    needs = "scores of as many classes as there are rows, in three steps"
    steps = 3
    bad = (_run(True, range(8)), _run(True, [4, 5, 6, 7, 0, 1, 2, 3]))
    good = (_run(False, range(8)), Run((Step(logits=Logits(8, 5)),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        square = [step for step in run.steps if step.logits is not None and step.logits.rows == step.logits.classes]
        found = [step for step in square if step.logits is not None and step.logits.meets_itself]
        if len(found) >= self.steps:
            own = sum(label == row for step in found for row, label in enumerate(step.labels))
            role = (
                "its own positive" if own > sum(len(step.labels) for step in found) / 2 else "among its own negatives"
            )
            evidence = Evidence("steps in which each sample is most similar to itself", len(found), 0, unit="count")
            yield self.convict(run.place("loss"), f"each sample is {role}: it is compared with itself", evidence)
        elif len(square) >= self.steps:
            yield self.passed("no sample is compared with itself")
