"""What re-running with remedies has shown: the record that reports draw and tests read."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from .record import dataclass, field


class Effect(enum.StrEnum):
    """Of a remedy, against the runs as found."""

    CURED = "cured"
    IMPROVED = "improved"
    NO_EFFECT = "no effect"
    WORSE = "worse"
    NOT_APPLIED = "not applied"  # the run holds nothing that the remedy could act on
    FAILED = "failed"  # the script ended before it could be judged
    UNTRIED = "untried"  # the budget was used up


@dataclass(frozen=True, slots=True)
class Spread:
    """A number over the seeds."""

    median: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to run the command: as found, or with one remedy or two."""

    label: str = "as found"
    remedies: tuple[Mapping[str, object], ...] = ()  # name and parameters, as the recorder applies them
    rules: tuple[str, ...] = ()  # the findings whose remedy this is
    effect: Effect | None = None  # None for the runs as found
    reason: str = ""
    loss: Spread = Spread()  # at the end of the steps
    losses: tuple[float | None, ...] = ()  # the median over the seeds, at each step
    measures: Mapping[str, Spread] = field(default_factory=dict)
    gone: tuple[str, ...] = ()  # findings that these runs no longer show
    seeds: int = 0
    non_finite: int = 0  # runs with values that are no numbers


@dataclass(frozen=True, slots=True)
class Proof:
    """The trials of a command at equal steps, and what they name as the root cause."""

    steps: int = 0
    seeds: int = 0
    noise: float | None = None  # the largest difference between two runs of one seed; 0: equal bit for bit
    metric: str = "loss"
    found: Trial = Trial()
    trials: tuple[Trial, ...] = ()
    root: str | None = None  # the rule whose remedy cures with the smallest change
    remedy: str | None = None  # the label of that remedy
    summary: str = ""
    seconds: float = 0.0
    budget: float = 0.0
