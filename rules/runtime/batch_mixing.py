"""ML214."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Passed, Run, RuntimeRule, Severity
from modellint.core.diagnostic import Unchecked
from modellint.measure.examined import mixing, place
from modellint.measure.run import Examination


def _run(share: float, found: bool = True, sure: bool = True) -> Run:
    return Run(examinations=(Examination("batch-mixing", found, value=share, sure=sure),))


class BatchMixing(RuntimeRule):
    """What the model computes of one sample depends on the other samples of the batch.

    Why: an axis is taken for another one: attention or recurrence runs along the batch, a reshape tears samples apart,
        a softmax or a mean is taken over axis 0. It raises no error; the model learns badly, and its predictions
        change with whatever else is in the batch.
    Fix: follow the batch axis through `forward`: `batch_first=True`, `permute` instead of `view`, `dim=-1` instead of
        `dim=0`.
    Ignore: when samples are meant to see each other, as in attention between samples.
    Thresholds: after the last step a copy of the model, in evaluation mode, is given the last batch again with one
        sample replaced by its neighbour: more than half of the other results change, and there is no axis (of time
        first) along which they do not. Nothing is said where axis 0 may be one graph, set or sequence, where results
        are compared with each other as in a contrastive loss, or where there are several optimizers.
    Reported: https://github.com/IBM/TabFormer/pull/14, https://github.com/Exorust/TorchLeet/issues/5
    """

    code, severity, topic = "ML214", Severity.ERROR, "structure"
    explains = ("loss-not-falling",)
    needs = "a model that is called with a batch, after the last watched step"
    bad = (_run(1.0), _run(0.97))
    good = (_run(0.0, found=False), _run(1.0, sure=False))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed | Unchecked]:
        examined, evidence = run.examined("batch-mixing"), mixing(run)
        if evidence is None:
            yield self.unchecked(examined.reason)
        elif not evidence.holds:
            yield self.passed("each sample is computed by itself")
        elif examined.sure:
            message = "what the model computes of a sample depends on the other samples of the batch"
            yield self.convict(place(run, examined), message, evidence)
        else:
            yield self.unchecked(
                "axis 0 may be no batch, but a graph, a set or a sequence: its items are not independent"
            )
