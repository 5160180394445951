"""Two runs side by side, and whether the second is worse: before and after a change, or two branches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modellint.core.diagnostic import Report, Severity
from modellint.core.proof import Effect
from modellint.core.record import dataclass
from modellint.measure.run import Run
from modellint.report.numbers import number

from . import verdict
from .outcome import Outcome, outcome, trained

SAID: Mapping[Effect, str] = {Effect.CURED: "better", Effect.IMPROVED: "better", Effect.WORSE: "worse"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """At as many steps as both runs have."""

    steps: int
    rows: tuple[tuple[str, ...], ...]  # what was measured, in the first run, in the second
    gone: tuple[str, ...]  # findings of the first run only
    new: tuple[str, ...]  # of the second only
    verdict: str  # "better", "same" or "worse"
    reason: str


def compare(before: Run, first: Report, after: Run, second: Report) -> Comparison:
    steps = min(len(trained(before)), len(trained(after)))
    one, other = outcome(before, steps), outcome(after, steps)
    was, now = _findings(first), _findings(second)
    new = tuple(rule for rule in now if rule not in was)
    judged = verdict.judge([one], [other], ())
    said = "worse" if new else SAID.get(judged.effect, "same")
    reason = f"it has {', '.join(new)}" if new else judged.reason.replace("in every seed", "at equal steps")
    gone = tuple(rule for rule in was if rule not in now)
    return Comparison(steps, tuple(_rows(one, other)), gone, new, said, reason)


def _findings(report: Report) -> list[str]:
    loud = report.at_least(Severity.WARNING)
    return list(dict.fromkeys(finding.rule for finding in loud if finding.verdict.convicts))


def _rows(one: Outcome, other: Outcome) -> Iterator[tuple[str, ...]]:
    both = (one, other)
    for name, pick in (("first loss", 0), ("last loss", -1)):
        if all(outcome.losses for outcome in both):
            yield name, *(number(outcome.losses[pick]) for outcome in both)
    if all(outcome.losses for outcome in both):
        yield "loss at the end (median)", *(number(verdict.end(outcome.losses)) for outcome in both)
    yield "finite", *(number(outcome.finite) for outcome in both)
    for name in dict.fromkeys((*one.measures, *other.measures)):
        yield name, *(number(outcome.measures.get(name)) for outcome in both)
