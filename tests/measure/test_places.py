"""Imbalance of labels that are those of places in a sample is told more quietly than that of samples."""

import pytest

from modellint import Diagnostic, Run, Severity, Step
from modellint.core import registry
from modellint.measure.cast import Loss
from modellint.measure.quantities import Batch

RULE = next(rule for rule in registry.load() if rule.name == "class-imbalance")


@pytest.mark.parametrize(("samples", "level"), [(32, Severity.WARNING), (4, Severity.NOTE)])
def test_labels_that_outnumber_the_samples_are_those_of_places(samples, level):
    steps = (Step(rows=32, batch=Batch(shape=(samples, 8))),) * 10
    run = Run(steps=steps, classes=3, label_counts={0: 300, 1: 10, 2: 10}, loss=Loss("cross_entropy"))
    assert [found.severity for found in RULE.check(run) if isinstance(found, Diagnostic)] == [level]
