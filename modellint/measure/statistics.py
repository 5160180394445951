"""The mathematics of runtime rules: plain numbers in, plain numbers out, with the source of each formula."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence


def median(values: Iterable[float]) -> float:
    """The median, with NaN counted as infinite: a loss that is no number is no low loss.

    Raises StatisticsError if there are no values.
    """
    import statistics  # with decimals and fractions: half as long as reading a script

    return statistics.median(math.inf if math.isnan(value) else value for value in values)


def norm(values: Iterable[float]) -> float:
    """The Euclidean norm of parts given by their norms."""
    return math.hypot(*values)


def shares(counts: Mapping[int, int]) -> tuple[float, ...]:
    """Each class's share of all rows, for classes that were seen."""
    total = sum(counts.values())
    return tuple(count / total for count in counts.values() if count)


def entropy(probabilities: Iterable[float]) -> float:
    """Shannon entropy in nats: the cross entropy of a model that knows how often each class comes and nothing else."""
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def distinct(probabilities: Sequence[float], draws: int) -> tuple[float, float]:
    """Mean and variance of the number of different classes among independent draws.

    With q_i = (1 - p_i)^n the mean is the sum of 1 - q_i, and the variance the sum of q_i (1 - q_i) and, over all
    pairs i != j, of (1 - p_i - p_j)^n - q_i q_j (Emigh, "On the number of observed classes from a multinomial
    distribution", Biometrics 39, 1983).
    Classes of equal probability are taken together, so that a vocabulary costs no more than its distinct counts.
    """
    groups = Counter(probabilities)
    missed = {p: (1 - p) ** draws for p in groups}
    mean = sum(size * (1 - missed[p]) for p, size in groups.items())
    alone = sum(size * missed[p] * (1 - missed[p]) for p, size in groups.items())
    pairs = (
        size * (other - (p == r)) * (max(0.0, 1 - p - r) ** draws - missed[p] * missed[r])
        for p, size in groups.items()
        for r, other in groups.items()
    )
    return mean, max(0.0, alone + sum(pairs))


def fewer_distinct(probabilities: Sequence[float], batches: Iterable[tuple[int, int]]) -> float:
    """By how many standard deviations batches of (distinct, draws) hold fewer classes than independent draws would.

    The batches are summed before they are compared: three batches that are each a little poor are poor together.
    Negative when they hold fewer; 0 where chance leaves no room (a single class).
    """
    found = expected = variance = 0.0
    for seen, draws in batches:
        mean, spread = distinct(probabilities, draws)
        found, expected, variance = found + seen, expected + mean, variance + spread
    return (found - expected) / math.sqrt(variance) if variance > 1e-12 else 0.0


def effective_classes(counts: Mapping[int, int]) -> float:
    """How many equally frequent classes would collide as often: 1 / sum p^2, estimated without bias from the counts.

    sum n (n - 1) / N (N - 1) estimates sum p^2 whatever the sample size (Simpson, "Measurement of diversity",
    Nature 163, 1949), so a small sample of balanced classes does not look imbalanced. Infinite if no class came twice.
    """
    total = sum(counts.values())
    same = sum(count * (count - 1) for count in counts.values())
    return total * (total - 1) / same if same else math.inf


def imbalance_sigma(counts: Mapping[int, int], classes: int) -> float:
    """How surprising the counts are for `classes` equally frequent ones, in standard deviations of a normal variable.

    Pearson's chi-square, made normal by its cube root (Wilson and Hilferty, "The distribution of chi-square",
    Proceedings of the National Academy of Sciences 17, 1931).
    """
    total, freedom = sum(counts.values()), classes - 1
    if total == 0 or freedom == 0:
        return 0.0
    chi_square = sum(count * count for count in counts.values()) * classes / total - total
    width = 2 / (9 * freedom)
    return (math.cbrt(chi_square / freedom) - (1 - width)) / math.sqrt(width)
