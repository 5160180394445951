"""ML345."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.quantities import Transcripts


def _run(blanks: int = 0, too_long: int = 0) -> Run:
    texts = Transcripts(samples=16, labels=80, blanks=blanks, too_long=too_long)
    return Run(tuple(Step(index, transcripts=texts) for index in range(10)))


class TranscriptNotAligned(RuntimeRule):
    """A CTC loss is given targets that it cannot align: the blank is one of their labels, or they are longer than the input.

    Why: the blank separates labels and stands for none. A target that holds it (in PyTorch the blank is label 0 unless another is
        named) teaches the model to say nothing where a letter should be, and decoding drops that letter each time. A target with
        more labels than the input has frames has no alignment at all: its loss is infinite, and with `zero_infinity=True` it
        silently teaches nothing.
    Fix: number the labels from 1, or give `blank=` an index that no label has; give the loss as many frames as there are labels,
        and one more for each label that is repeated: pool less over time, and pass the lengths after the pooling.
    Ignore: nothing known.
    Thresholds: in at least `steps` = 3 steps a target holds the blank before its last other label (blanks at its end are padding
        that is counted in its length); or over all steps at least `most` = 0.5 of the targets do not fit, of `samples` = 16 or
        more.
    Reported: https://github.com/apache/mxnet/pull/7727, https://github.com/SeanNaren/deepspeech.pytorch/pull/601
    """

    code, severity, topic = "ML345", Severity.WARNING, "loss"
    explains = ("non-finite", "loss-not-falling")
    needs = "a CTC loss in three steps"
    steps, most, samples = 3, 0.5, 16
    bad = (_run(blanks=9), _run(too_long=12))
    good = (_run(), _run(too_long=1), Run((Step(),)))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        seen = [step.transcripts for step in run.steps if step.transcripts is not None]
        blanks, long = [each.blanks for each in seen], sum(each.too_long for each in seen)
        samples = sum(each.samples for each in seen)
        if sum(count > 0 for count in blanks) >= self.steps:
            evidence = Evidence(
                "labels that are the blank, in a step", max(blanks), 0, unit="count", series=tuple(blanks)
            )
            yield self.convict(run.place("loss"), "the blank of the CTC loss is one of the labels", evidence)
        elif samples >= self.samples and long >= self.most * samples:
            evidence = Evidence("part of the targets with more labels than frames", long / samples, self.most)
            yield self.convict(run.place("loss"), "most targets of the CTC loss are longer than their inputs", evidence)
        elif len(seen) >= self.steps:
            yield self.passed("the targets of the CTC loss can be aligned")
