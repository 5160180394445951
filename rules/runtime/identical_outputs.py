"""ML310."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.quantities import Distribution, Logits


def _run(spread: float, lowest: float, highest: float, rows: int = 10) -> Run:
    logits = Logits(rows, 10, Distribution(0.0, 0.5, lowest, highest), spread)
    return Run(steps=tuple(Step(index, logits=logits) for index in range(5)))


class IdenticalOutputs(RuntimeRule):
    """The outputs do not depend on the input.

    Why: every sample gets the same logits, so the best that training can reach is the frequency of the labels.
    Fix: look at what feeds the readout: dead ReLUs, a zero-initialised layer that never moves, an input that is
        overwritten or multiplied by zero, features averaged over the batch.
    Ignore: when all samples of the probed batches are the same sample.
    Thresholds: `relative` = the standard deviation over the samples, in each of the last three steps, is below one
        millionth of the largest logit; healthy networks lie between 0.05 and 4. The first two steps are left out,
        because a zero-initialised readout starts with equal outputs.
    Reported: https://github.com/keras-team/keras/issues/6447
    """

    code, severity, topic = "ML310", Severity.WARNING, "predictions"
    explains = ("collapsed-predictions", "loss-not-falling", "cannot-overfit")
    remedy = ("re-initialise", "standardise-input")
    needs = "logits of a batch of at least two samples, from the third step on"
    of_data = True
    relative = 1e-6
    bad = (_run(0.0, -0.3, 0.4), _run(1e-9, -0.3, 0.4))
    good = (_run(0.02, -0.3, 0.4), _run(1e-8, -2e-8, 2e-8), _run(0.0, -0.3, 0.4, rows=1))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        late = [step.logits for step in run.steps if step.index >= 2 and step.logits and step.logits.rows > 1]
        spreads = tuple(logits.spread for logits in late if logits.spread is not None)[-3:]
        if spreads and all(self._ignores_the_input(logits) for logits in late[-3:]):
            evidence = Evidence("spread of the logits over the samples", max(spreads), series=spreads)
            yield self.convict(run.place("model"), "the outputs do not depend on the input", evidence)
        elif spreads:
            yield self.passed("logits differ between samples (spread)", min(spreads))

    def _ignores_the_input(self, logits: Logits) -> bool:
        largest = max(abs(logits.values.min or 0.0), abs(logits.values.max or 0.0))
        return logits.spread is not None and logits.spread <= self.relative * largest
