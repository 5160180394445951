"""Formulas against counting by hand and against samples."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from modellint.measure import statistics as s


def long_tail(classes: int) -> list[float]:
    weights = [1 / rank for rank in range(1, classes + 1)]
    return [weight / sum(weights) for weight in weights]


def test_a_loss_that_is_no_number_is_no_low_loss() -> None:
    assert s.median([1.0, math.nan, math.nan]) == math.inf
    assert s.median([3.0, 1.0, 2.0]) == 2.0


def test_entropy_of_equal_shares_is_the_logarithm_of_their_number() -> None:
    assert s.entropy(s.shares({0: 5, 1: 5, 2: 5, 3: 0})) == pytest.approx(math.log(3))
    assert s.entropy([1.0]) == 0


@pytest.mark.parametrize(
    ("probabilities", "draws", "mean", "variance"),
    [
        ([0.5, 0.5], 2, 1.5, 0.25),  # HH HT TH TT
        ([1.0], 7, 1.0, 0.0),
        ([1 / 3] * 3, 1, 1.0, 0.0),
        ([0.25] * 4, 2, 1.75, 0.1875),
    ],
)
def test_distinct_by_hand(probabilities: list[float], draws: int, mean: float, variance: float) -> None:
    assert s.distinct(probabilities, draws) == pytest.approx((mean, variance))


def test_distinct_agrees_with_samples() -> None:
    probabilities, rng = long_tail(50), random.Random(0)
    seen = [len(set(rng.choices(range(50), probabilities, k=10))) for _ in range(20_000)]
    mean = sum(seen) / len(seen)
    variance = sum((k - mean) ** 2 for k in seen) / len(seen)
    assert s.distinct(probabilities, 10) == pytest.approx((mean, variance), rel=0.03)


def test_one_class_in_thirty_predictions_is_surprising_and_all_of_them_is_not() -> None:
    assert s.fewer_distinct([0.1] * 10, [(1, 10)] * 3) < -9
    assert s.fewer_distinct([0.1] * 10, [(7, 10), (6, 10), (6, 10)]) == pytest.approx(0, abs=1)
    assert s.fewer_distinct([1.0], [(1, 10)]) == 0


def test_effective_classes_does_not_depend_on_the_size_of_the_sample() -> None:
    rng, classes = random.Random(1), 20
    samples = (Counter(rng.choices(range(classes), k=40)) for _ in range(3000))
    assert 3000 / sum(1 / s.effective_classes(sample) for sample in samples) == pytest.approx(classes, rel=0.03)
    assert s.effective_classes({0: 1, 1: 1}) == math.inf
    assert s.effective_classes({0: 9500, 1: 500}) == pytest.approx(1 / (0.95**2 + 0.05**2), rel=1e-3)


@pytest.mark.parametrize(("classes", "rows"), [(2, 50), (10, 100), (50, 100), (1000, 320)])
def test_balanced_samples_are_not_imbalanced(classes: int, rows: int) -> None:
    rng = random.Random(2)
    sigmas = [s.imbalance_sigma(Counter(rng.choices(range(classes), k=rows)), classes) for _ in range(1000)]
    assert sum(sigmas) / len(sigmas) == pytest.approx(0, abs=0.3)
    assert max(sigmas) < 5


def test_long_tailed_samples_are_imbalanced() -> None:
    rng = random.Random(3)
    samples = [Counter(rng.choices(range(50), long_tail(50), k=100)) for _ in range(200)]
    assert min(s.imbalance_sigma(sample, 50) for sample in samples) > 5
    assert s.imbalance_sigma({0: 19, 1: 1}, 2) > 3
    assert s.imbalance_sigma({0: 4}, 1) == 0
