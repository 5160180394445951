"""A proof as the rows of a table: what was tried, what it did, the loss, what else moved."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.proof import Proof, Spread, Trial

from .numbers import number

TITLES = ("Tried", "Effect", "Loss at the end", "Gradient norm", "Balanced accuracy", "Why")
NORM, BALANCED = "largest gradient norm that is applied", "balanced accuracy"


def rows(proof: Proof) -> Iterator[tuple[str, ...]]:
    """In the order of the titles; the runs as found first."""
    yield from (_row(trial) for trial in (proof.found, *proof.trials))


def _row(trial: Trial) -> tuple[str, ...]:
    measured = (spread(trial.measures.get(name, Spread())) for name in (NORM, BALANCED))
    return (trial.label, trial.effect or "", spread(trial.loss), *measured, trial.reason)


def spread(numbers: Spread) -> str:
    """The median, and where the seeds differ smallest and largest."""
    if numbers.median is None:
        return ""
    if numbers.low == numbers.high:
        return number(numbers.median)
    return f"{number(numbers.median)} ({number(numbers.low)} .. {number(numbers.high)})"


def conditions(proof: Proof) -> str:
    """ "3 seeds, 50 steps each, 62 s; two runs of one seed are equal bit for bit"."""
    if proof.noise is None:
        return ""
    equal = "are equal bit for bit" if proof.noise == 0 else f"differ by up to {number(proof.noise)}"
    return f"{proof.seeds} seeds, {proof.steps} steps each, {proof.seconds:.0f} s; two runs of one seed {equal}"
