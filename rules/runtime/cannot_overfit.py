"""ML321."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Passed, Run, RuntimeRule, Severity
from modellint.core.diagnostic import Unchecked
from modellint.measure.examined import place, stubbornness
from modellint.measure.run import Examination


def _run(value: float, found: bool) -> Run:
    return Run(examinations=(Examination("capacity", found, value=value),))


class CannotOverfit(RuntimeRule):
    """The model cannot learn even one batch by heart.

    Why: a network with a thousand times more weights than the batch has labels fits it in a few steps. One that stays at
        guessing does not let the labels reach the weights, or the inputs the output: more data and time will not help.
    Fix: look for what is dead, frozen or cut off between input and loss, for weights that have exploded, and for scores that
        a softmax or a bounded activation holds together; then try one batch again.
    Ignore: when a batch holds the same input with different labels.
    Thresholds: after the last step a copy of the model takes 100 steps of Adam on the last batch, at 1e-3 and again at
        1e-2: its cross entropy stays above 0.98 times the entropy of the batch's labels. Below 0.9 it is healthy; in
        between, or where it would take more than two seconds, nothing is said.
    Reported: https://github.com/milesial/Pytorch-UNet/issues/165
    """

    code, severity, topic = "ML321", Severity.WARNING, "structure"
    explains = ("loss-not-falling",)
    needs = "a model that is called as a whole and a loss over classes, after the last watched step"
    of_data = True
    bad = _run(1.0, True)
    good = (_run(0.6, False), Run(examinations=(Examination("capacity", reason="the last batch holds one class"),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed | Unchecked]:
        examined, evidence = run.examined("capacity"), stubbornness(run)
        if evidence is None:
            yield self.unchecked(examined.reason)
        elif evidence.holds:
            yield self.convict(place(run, examined), "the model cannot fit one batch of its own data", evidence)
        else:
            yield self.passed("the model can fit one batch (loss / guessing)", examined.value, 0.98)
