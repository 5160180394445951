"""What counts as falling, diverging and exploding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from modellint.measure import trajectory as t
from modellint.measure.cast import Parameter
from modellint.measure.run import Run
from modellint.measure.step import Step


def run(norms: Sequence[float], losses: Sequence[float], classes: int | None = None) -> Run:
    steps = (
        Step(i, loss=loss, class_loss=loss if classes else None, gradients={"head.weight": norm, "body.weight": 0.1})
        for i, (norm, loss) in enumerate(zip(norms, losses, strict=True))
    )
    return Run(steps=tuple(steps), parameters=(Parameter("head.weight", role="readout"),), classes=classes)


def test_a_loss_that_becomes_nan_does_not_fall() -> None:
    assert t.falls([2.3, 2.0, 1.9, 1.8])
    assert not t.falls([2.3, 1.0, math.nan, math.nan, math.nan, math.nan, math.nan])
    assert not t.falls([2.3])


def test_growth_explodes_only_while_the_loss_does_not_fall() -> None:
    norms = [1.0, 1.2, 0.9, 40.0, 70.0, 60.0]
    (found,) = t.explosions(run(norms, [2.0, 2.1, 2.0, 3.0, 5.0, 6.0]))
    assert (found.part, found.peak, found.start, found.parameter) == ("readout", 70.0, 1.0, "head.weight")
    assert found.series == tuple(norms)
    assert not list(t.explosions(run(norms, [2.0, 1.5, 1.3, 1.1, 1.0, 0.9])))


def test_a_run_that_diverges_at_once_is_held_against_its_first_step() -> None:
    norms, losses = [0.4, 9e4, 2e4, 3e4, 1e4], [3.9, 6e5, 3e3, 3e4, 4e3]
    assert [found.start for found in t.explosions(run(norms, losses, classes=50))] == [0.4]
    assert not list(t.explosions(run(norms, losses)))


def test_zeros_of_the_first_steps_are_no_reference() -> None:
    assert t.reference([0.0, 0.2, 0.4]) == pytest.approx(0.3)
    assert t.reference([0.0, None, math.inf, 5.0]) is None


def test_parts_are_told_apart_by_role_and_optimizers_by_their_steps() -> None:
    measured = run([1.0] * 3, [1.0] * 3)
    assert t.parts(measured, measured.steps) == {"readout": ("head.weight",), "representation": ("body.weight",)}
    assert t.parts(Run(), [Step(gradient_norm=3.0)]) == {"model": ()}
    assert t.norms([Step(gradient_norm=3.0)]) == (3.0,)
    both = Run(steps=(Step(0, 0), Step(0, 1), Step(1, 0)))
    assert [len(steps) for steps in t.each_optimizer(both)] == [2, 1]


def test_guessing_is_the_entropy_of_the_labels() -> None:
    steps = [Step(i, class_loss=0.4) for i in range(5)]
    assert t.no_better_than_guessing(Run(label_counts={0: 90, 1: 10}), steps)
    assert not t.no_better_than_guessing(Run(label_counts={0: 50, 1: 50}), steps)
