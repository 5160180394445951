"""ML337."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Passed, Run, RuntimeRule, Severity
from modellint.core.diagnostic import Unchecked
from modellint.measure.cast import Loss
from modellint.measure.examined import filling
from modellint.measure.run import Examination


def _run(found: bool | None, share: float | None = None, loss: Loss | None = None) -> Run:
    return Run(examinations=(Examination("padding", found, value=share),), loss=loss)


class PaddingCounts(RuntimeRule):
    """The model is trained to predict the padding of its texts.

    Why: short texts are filled up to the longest of the batch, and cross entropy averages over all places. The padding is
        learned at once: the loss falls and the accuracy rises by that alone, and the gradient of the text is diluted.
    Fix: `ignore_index=PAD` for the loss, or labels of -100 at these places.
    Ignore: when the padding is a class that the model is meant to predict; a loss with weights may weigh it with zero, and one
        that is not reduced may be masked: both are left out.
    Thresholds: in the last batch one label ends the texts at three lengths or more and is found nowhere else, and so does one
        token of an input at the same places; a warning from `share` = 0.2 of the labels on, the first one after each text left out.
    Reported: https://github.com/huggingface/transformers/issues/2759, https://github.com/lukas-blecher/LaTeX-OCR/issues/305
    """

    code, severity, topic = "ML337", Severity.WARNING, "sequences"
    needs = "a model of texts with a label for each token, after the last watched step"
    share = 0.2
    bad = _run(True, 0.4)
    good = (
        _run(False, 0.0),
        _run(None),
        _run(True, 0.4, Loss("cross_entropy", reduction="none")),  # a mask follows
        _run(True, 0.4, Loss("cross_entropy", weighted=True)),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed | Unchecked]:
        evidence = filling(run)
        if evidence is None:
            yield self.unchecked(run.examined("padding").reason)
        elif run.loss is not None and (run.loss.weighted or run.loss.reduction == "none"):
            yield self.unchecked("the padding may be weighed with zero")
        elif evidence.holds:
            share = run.examined("padding").value or 0.0
            severity = Severity.NOTE if share < self.share else None
            message = f"{share:.0%} of the labels in the loss are padding"
            yield self.convict(run.place("loss"), message, evidence, severity=severity)
        else:
            yield self.passed("the padding does not count in the loss")
