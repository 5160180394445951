"""ML335."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Passed, Run, RuntimeRule, Severity
from modellint.core.diagnostic import Unchecked
from modellint.measure.examined import copying
from modellint.measure.run import Examination


def _run(found: bool | None, ahead: float | None = None) -> Run:
    return Run(examinations=(Examination("copying", found, value=ahead),))


class LabelsAreInputs(RuntimeRule):
    """A language model is trained to repeat the token that it reads, not to predict the next one.

    Why: the labels are the input tokens of the same places, and a model that reads from left to right has each of them before
        it when it is asked. The loss falls to zero, and what has been learned is to copy.
    Fix: shift one against the other: `model(tokens[:, :-1])` and `tokens[:, 1:]` as labels. Models of transformers shift
        the labels themselves, a loss that is called on their logits does not.
    Ignore: when copying is the task, as in a first test of a new layer.
    Thresholds: after the last step every label of the last batch is the token of its own place, at most 80 % are the next one,
        and what a copy of the model, in evaluation mode, computes at a place does not change with a later token.
    Reported: https://github.com/KempnerInstitute/KempnerForge/issues/154
    """

    code, severity, topic = "ML335", Severity.WARNING, "data"
    needs = "a model of tokens with a label for each, after the last watched step"
    bad = _run(True, 0.0)
    good = (_run(False, 0.4), _run(None))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed | Unchecked]:
        evidence = copying(run)
        if evidence is None:
            yield self.unchecked(run.examined("copying").reason)
        elif evidence.holds:
            message = "the labels are the tokens that the model reads at the same places"
            yield self.convict(run.place("loss"), message, evidence)
        else:
            yield self.passed("the model is not asked for what it has just read")
