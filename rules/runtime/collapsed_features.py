"""ML311."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.quantities import Features, Logits


def _run(rank: float, class_loss: float, distances: tuple[float, float] = (1.0, 3.0), rows: int = 64) -> Run:
    features = Features(rows=rows, width=128, rank=rank, distance_min=distances[0], distance_max=distances[1])
    steps = (Step(i, features=features, logits=Logits(rows, 10), class_loss=class_loss) for i in range(4))
    return Run(steps=tuple(steps), classes=10)


class CollapsedFeatures(RuntimeRule):
    """The features of different samples hardly differ.

    Why: the readout cannot tell apart what the representation has made equal.
    Fix: look for dead units, saturated activations and zero-initialised layers; normalise the features; lower the
        learning rate if the features collapsed during the probe.
    Ignore: data of one or two dimensions, whose features cannot span more.
    Thresholds: `share` = an effective rank (exponential of the entropy of the singular values; Roy and Vetterli,
        "The effective rank", EUSIPCO 2007) below 5 % of the possible one in the last three steps, and a cross
        entropy above `loss` = 0.9 ln C: without the loss, 1 false alarm in 129 healthy runs, with it none.
    Reported: https://github.com/OML-Team/open-metric-learning/issues/367
    """

    code, severity = "ML311", Severity.WARNING
    explains = ("identical-outputs", "collapsed-predictions", "loss-not-falling", "cannot-overfit")
    needs = "the features that enter the readout, for at least three samples"
    of_data = True
    share, loss = 0.05, 0.9
    bad = _run(1.2, 2.31, distances=(0.0, 1e-6))
    good = (_run(20.0, 2.31), _run(1.5, 0.4), _run(1.0, 2.31, rows=2))

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        steps = [step for step in run.steps if step.features and step.features.rows > 2]
        last = steps[-1].features if steps else None
        if last and run.classes and all(self._collapsed(step, run.classes) for step in steps[-3:]):
            series = tuple(step.features.rank for step in steps if step.features)
            evidence = Evidence(
                "effective rank of the features", last.rank, self.share * _possible(last), series=series
            )
            yield self.convict(run.place("model"), "the features of different samples hardly differ", evidence)
        elif last and last.distance_max:
            apart = f"{last.distance_min or 0.0:.3g} .. {last.distance_max:.3g}"
            yield self.passed("features differ between samples (distances)", apart)

    def _collapsed(self, step: Step, classes: int) -> bool:
        if step.features is None or step.features.rank is None or step.class_loss is None:
            return False
        wrong = not step.class_loss <= self.loss * math.log(classes)
        return wrong and step.features.rank < self.share * _possible(step.features)


def _possible(features: Features) -> int:
    return min(features.rows - 1, features.width)
