"""A report and the run behind it to a proof: remedies of the leading findings are tried, one by one and in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from modellint.core.diagnostic import Report
from modellint.core.proof import Effect, Proof
from modellint.core.record import dataclass, replace
from modellint.core.rule import RuntimeRule
from modellint.measure.run import Run

from . import verdict
from .candidates import Rules, candidates, holds, leading
from .catalogue import Offer
from .outcome import Outcome, outcome
from .schedule import SEEDS, Job, Schedule
from .trial import trial
from .verdict import Verdict

PAIRED = 3  # remedies of which pairs are made, where none alone cures


@dataclass(frozen=True, slots=True)
class Tried:
    offers: tuple[Offer, ...]
    rules: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    verdict: Verdict


class Prover:
    """Runs what is to be tried, round by round, and judges it."""

    def __init__(self, report: Report, run: Run, rules: Rules, schedule: Schedule, steps: int) -> None:
        self._rules, self._schedule, self._steps, self._first = rules, schedule, steps, run
        self._findings = leading(report, run)
        self._candidates = candidates(self._findings, run, rules)
        self._found: list[Outcome] = []
        self._noise = 0.0

    def prove(self) -> Proof | None:
        """None where no finding has a remedy."""
        if not self._candidates:
            return None
        self._begin()
        singles = list(self._singles()) if self._found else []
        ranked = verdict.against_the_best([tried.verdict for tried in singles])
        singles = [replace(tried, verdict=known) for tried, known in zip(singles, ranked, strict=True)]
        cures = [tried for tried in singles if tried.verdict.effect is Effect.CURED]
        ill = self._found and not verdict.learns(self._found)
        tried = [*singles, *(self._pairs(singles) if ill and not cures else [])]
        return self._proof(tried, min(cures, key=_change, default=None))

    def _begin(self) -> None:
        runs = self._schedule.run([Job(seed=seed) for seed in range(SEEDS)])
        self._found = [self._outcome(run) for run in runs if run is not None]
        if self._found:
            self._noise = verdict.noise(self._outcome(self._first), self._found[0])

    def _singles(self) -> Iterator[Tried]:
        """All first rungs together, then the next one of each remedy that has not cured."""
        left = [(candidate, candidate.rungs) for candidate in self._candidates]
        while left:
            tried = self._try([((rungs[0],), candidate.rules) for candidate, rungs in left])
            yield from tried
            left = [
                (candidate, rungs[1:])
                for (candidate, rungs), result in zip(left, tried, strict=True)
                if len(rungs) > 1 and result.verdict.effect not in (Effect.CURED, Effect.UNTRIED, Effect.NOT_APPLIED)
            ]

    def _pairs(self, singles: Sequence[Tried]) -> list[Tried]:
        best: dict[str, Tried] = {}
        for tried in sorted(singles, key=lambda tried: -tried.verdict.progress):
            if tried.verdict.effect in (Effect.IMPROVED, Effect.NO_EFFECT) and not tried.offers[0].balances:
                best.setdefault(tried.offers[0].name, tried)
        pairs = combinations(list(best.values())[:PAIRED], 2)
        return self._try([((*a.offers, *b.offers), (*a.rules, *b.rules)) for a, b in pairs])

    def _try(self, wanted: Sequence[tuple[tuple[Offer, ...], tuple[str, ...]]]) -> list[Tried]:
        seeds = range(len(self._found))
        jobs = [Job(offered, seed, rules[0]) for offered, rules in wanted for seed in seeds]
        runs = self._schedule.run(jobs)
        parts = [runs[place * len(seeds) : (place + 1) * len(seeds)] for place in range(len(wanted))]
        return [self._judged(*each, part) for each, part in zip(wanted, parts, strict=True)]

    def _judged(self, offered: tuple[Offer, ...], rules: tuple[str, ...], runs: Sequence[Run | None]) -> Tried:
        done = [self._outcome(run) for run in runs if run is not None]
        if len(done) < len(runs):
            return Tried(offered, rules, tuple(done), Verdict(Effect.UNTRIED, "the budget was used up"))
        names = [offer.name for offer in offered]
        if all(offer.balances for offer in offered):
            known = verdict.judge_balance(self._found, done, names)
        else:
            known = verdict.judge(self._found, done, names, self._symptoms(rules), self._noise)
        if not any(finding.verdict.convicts for finding in self._findings if finding.rule in rules):
            known = verdict.of_a_suspicion(known, self._found)
        return Tried(offered, rules, tuple(done), known)

    def _symptoms(self, rules: Sequence[str]) -> list[str]:
        """What the run should no longer show without these findings: they themselves, and what they explain.

        Only what was measured: the calls of the script are seen as they are written, whatever a remedy makes of them.
        """
        ended = {name for rule in rules for name in (rule, *self._rules[rule].explains)}
        measured = (
            finding.rule for finding in self._findings if isinstance(self._rules.get(finding.rule), RuntimeRule)
        )
        return [rule for rule in dict.fromkeys(measured) if rule in ended]

    def _outcome(self, run: Run) -> Outcome:
        """The findings are sought in as many steps as the probe had: what they are held against depends on it."""
        probed = replace(run, steps=tuple(step for step in run.steps if step.index < self._first.requested_steps))
        convicted = (finding for finding in self._findings if finding.verdict.convicts)
        seen = frozenset(finding.rule for finding in convicted if holds(finding, probed, self._rules))
        return outcome(run, self._steps, seen)

    def _proof(self, tried: Sequence[Tried], root: Tried | None) -> Proof:
        trials = tuple(
            replace(
                trial(each.outcomes),
                label=" and ".join(offer.label for offer in each.offers),
                remedies=tuple(offer.applied for offer in each.offers),
                rules=tuple(dict.fromkeys(each.rules)),
                effect=each.verdict.effect,
                reason=each.verdict.reason,
                gone=tuple(self._gone(each)),
            )
            for each in tried
        )
        return Proof(
            steps=min((len(o.losses) for o in self._found), default=0),
            seeds=len(self._found),
            noise=self._noise if self._found else None,
            found=trial(self._found),
            trials=trials,
            root=root.rules[0] if root else None,
            remedy=" and ".join(offer.label for offer in root.offers) if root else None,
            seconds=self._schedule.seconds,
        )

    def _gone(self, tried: Tried) -> Iterator[str]:
        seen = frozenset[str]().union(*(outcome.symptoms for outcome in self._found))
        still = verdict.left(tried.outcomes, seen) if tried.outcomes else seen
        rules = dict.fromkeys(finding.rule for finding in self._findings)
        yield from (rule for rule in rules if rule in seen and rule not in still)


def _change(tried: Tried) -> tuple[int, float]:
    """The smallest change first; of two alike the one that wins more."""
    return sum(offer.size for offer in tried.offers), -tried.verdict.progress
