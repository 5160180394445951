"""Measurements that convict, and are only noted where the method of training explains them."""

import pytest

from modellint.core import registry
from modellint.core.diagnostic import Location, Severity
from modellint.measure.cast import Loss
from modellint.measure.quantities import Logits
from modellint.measure.run import Run
from modellint.measure.step import Step

RULES = {rule.name: rule for rule in registry.load()}


def level(name: str, run: Run) -> Severity:
    (found,) = RULES[name].check(run)
    return found.level


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Loss("cross_entropy"), Severity.WARNING),
        (Loss("cross_entropy", reduction="none"), Severity.NOTE),  # a focal loss weighs each sample by itself
        (Loss("cross_entropy", dense=True), Severity.NOTE),  # most pixels are background
    ],
)
def test_class_imbalance(loss: Loss, expected: Severity) -> None:
    run = Run(steps=(Step(),), classes=2, label_counts={0: 570, 1: 30}, loss=loss)
    assert level("class-imbalance", run) is expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (dict.fromkeys(range(32), 3), Severity.NOTE),  # each row is the class of its own pair, as in CLIP
        ({label: 3 + (label == 0) - (label == 1) for label in range(32)}, Severity.WARNING),
    ],
)
def test_bad_initial_loss(labels: dict[int, int], expected: Severity) -> None:
    steps = tuple(Step(index, class_loss=8.0, logits=Logits(32, 32)) for index in range(3))
    assert level("bad-initial-loss", Run(steps=steps, classes=32, label_counts=labels)) is expected


def test_a_loss_written_by_hand_is_placed_at_backward() -> None:
    run = Run(steps=(Step(loss=float("nan")),), places={"backward": Location("train.py", 7)})
    (found,) = RULES["non-finite"].check(run)
    assert found.location == Location("train.py", 7)
