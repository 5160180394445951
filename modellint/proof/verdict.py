"""Outcomes to verdicts: is a remedy a cure? By non-finite values first, then the loss, then the symptom."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from modellint.core.proof import Effect
from modellint.core.record import dataclass
from modellint.measure.statistics import median

from .outcome import Outcome

BAR = 0.05  # of the first loss, the lower of both: a smaller difference is none, whatever the noise
NOISE = 2.0  # times the difference between two runs of one seed
SPIKE = 3.0  # times the first loss: a run that once went above it was not calm
BALANCE = 0.05  # of balanced accuracy
Outcomes = Sequence[Outcome]  # one a seed, the same seeds in the same order for every trial


@dataclass(frozen=True, slots=True)
class Verdict:
    effect: Effect
    reason: str
    progress: float = 0.0  # how far the loss fell below its start, over the seeds the least


def end(losses: Sequence[float]) -> float:
    """The loss after the last steps: the median of the last fifth, of at least three."""
    return median(losses[-max(3, len(losses) // 5) :])


def noise(one: Outcome, other: Outcome) -> float:
    """The largest difference between two runs that should be equal."""
    pairs = zip(one.losses, other.losses, strict=False)
    return max((abs(a - b) for a, b in pairs if a != b), default=0.0)


def judge(
    found: Outcomes,
    tried: Outcomes,
    remedies: Sequence[str],
    symptoms: Iterable[str] = (),
    difference: float = 0.0,
) -> Verdict:
    """Whether the runs with `remedies` are better than those as found; `difference` is the noise.

    A cure holds in every seed: finite, below the runs as found by more than the bar, below its own start, without a
    spike; and none of the `symptoms` that it should end is left in most of them.
    """
    if problem := next((outcome.problem for outcome in tried if outcome.problem), ""):
        return Verdict(Effect.FAILED, problem)
    if not all(name in outcome.applied for outcome in tried for name in remedies):
        return Verdict(Effect.NOT_APPLIED, "nothing in the run that it could act on")
    if any(not outcome.losses for outcome in (*found, *tried)):
        return Verdict(Effect.FAILED, "no loss was measured")
    broken, still = _broken(found), _broken(tried)
    if still > broken:
        return Verdict(Effect.WORSE, f"{still} of {len(tried)} runs meet values that are no numbers")
    start, own = (median(outcome.losses[0] for outcome in outcomes) for outcomes in (found, tried))
    bar = max(NOISE * difference, BAR * min(abs(start), abs(own)))  # a loss may start out of all proportion as found
    gains = [_gain(before, after) for before, after in zip(found, tried, strict=True)]
    progress = min(start - end(outcome.losses) for outcome in tried)
    if all(gain > bar for gain in gains):
        return _better(tried, own, bar, progress, still, left(tried, symptoms))
    if all(gain < -bar for gain in gains):
        return Verdict(Effect.WORSE, "the loss is higher in every seed", progress)
    return Verdict(Effect.NO_EFFECT, "the loss differs by no more than by chance", progress)


def of_a_suspicion(known: Verdict, found: Outcomes) -> Verdict:
    """What nothing has convicted is proven only where the runs as found do not learn."""
    if known.effect is not Effect.CURED or not learns(found):
        return known
    return Verdict(Effect.IMPROVED, "the loss falls further, and as found it falls too", known.progress)


def learns(found: Outcomes) -> bool:
    """Whether the loss falls in every seed."""
    start = median(outcome.losses[0] for outcome in found)
    return all(outcome.finite and start - end(outcome.losses) > BAR * abs(start) for outcome in found)


def left(tried: Outcomes, symptoms: Iterable[str]) -> list[str]:
    """The symptoms that most of the runs still show."""
    return [name for name in symptoms if 2 * sum(name in outcome.symptoms for outcome in tried) > len(tried)]


def _better(tried: Outcomes, start: float, bar: float, progress: float, still: int, left: Sequence[str]) -> Verdict:
    if still:
        return Verdict(Effect.IMPROVED, f"{still} of {len(tried)} runs still meet values that are no numbers", progress)
    if not all(start - end(outcome.losses) > bar for outcome in tried):
        return Verdict(Effect.IMPROVED, "the loss is lower, and does not fall below its start", progress)
    if any(max(outcome.losses) > max(SPIKE * start, start + bar) for outcome in tried):
        return Verdict(Effect.IMPROVED, "the loss is lower, and still leaps on its way", progress)
    if left:
        return Verdict(Effect.IMPROVED, f"the loss falls, and {', '.join(left)} is still seen", progress)
    return Verdict(Effect.CURED, "the loss falls in every seed", progress)


def judge_balance(found: Outcomes, tried: Outcomes, remedies: Sequence[str]) -> Verdict:
    """The same for a remedy of imbalance, which moves the loss itself: by balanced accuracy and distinct classes."""
    by_loss = judge(found, tried, remedies)
    if by_loss.effect in (Effect.FAILED, Effect.NOT_APPLIED) or _broken(tried) > _broken(found):
        return by_loss
    name, kinds = "balanced accuracy", "distinct predictions"
    gains = [b.measures.get(name, 0.0) - a.measures.get(name, 0.0) for a, b in zip(found, tried, strict=True)]
    more = all(b.measures.get(kinds, 0) >= a.measures.get(kinds, 0) for a, b in zip(found, tried, strict=True))
    start = median(outcome.losses[0] for outcome in found)
    calm = all(max(outcome.losses) <= SPIKE * start for outcome in tried)
    if all(gain > BALANCE for gain in gains) and more:
        effect = Effect.CURED if calm and not _broken(tried) else Effect.IMPROVED
        return Verdict(effect, "the rare classes are predicted too, in every seed", min(gains))
    if all(gain < -BALANCE for gain in gains):
        return Verdict(Effect.WORSE, "the balanced accuracy is lower in every seed", min(gains))
    return Verdict(Effect.NO_EFFECT, "the balanced accuracy differs by no more than by chance", min(gains))


def against_the_best(verdicts: Sequence[Verdict], share: float = 0.5) -> list[Verdict]:
    """A cure that leaves most of what the best of them wins is an improvement only."""
    best = max((v.progress for v in verdicts if v.effect is Effect.CURED), default=0.0)
    short = Verdict(Effect.IMPROVED, "the loss falls, and far less than with another remedy")
    return [
        Verdict(short.effect, short.reason, v.progress) if v.effect is Effect.CURED and v.progress < share * best else v
        for v in verdicts
    ]


def _gain(before: Outcome, after: Outcome) -> float:
    """By how much the loss ends lower; a run that broke ends infinitely high."""
    first, second = (end(o.losses) if o.finite else math.inf for o in (before, after))
    return 0.0 if first == second else first - second


def _broken(outcomes: Outcomes) -> int:
    return sum(not outcome.finite for outcome in outcomes)
