"""The findings that are to be proven, their remedies, and whether a run still shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modellint.core.diagnostic import Diagnostic, Report, Severity, Verdict
from modellint.core.record import dataclass
from modellint.core.rule import Rule, RuntimeRule
from modellint.measure.run import Run
from modellint.measure.trajectory import falls

from .catalogue import Offer, offers
from .outcome import losses, trained

Rules = Mapping[str, Rule]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A remedy with its rungs, and the findings that ask for it."""

    rungs: tuple[Offer, ...]
    rules: tuple[str, ...]


def candidates(findings: Sequence[Diagnostic], run: Run, rules: Rules) -> list[Candidate]:
    """The remedies of the findings, in their order; of each remedy, first the rules that it suits best."""
    asked: dict[str, list[tuple[int, str]]] = {}
    for finding in findings:
        for place, name in enumerate(rules[finding.rule].remedies if finding.rule in rules else ()):
            asked.setdefault(name, []).append((place, finding.rule))
    made = ((tuple(offers(name, run)), sorted(wanting, key=_place)) for name, wanting in asked.items())
    return [Candidate(rungs, tuple(dict.fromkeys(rule for _, rule in wanting))) for rungs, wanting in made if rungs]


def _place(wanting: tuple[int, str]) -> int:
    return wanting[0]


def leading(report: Report, run: Run) -> list[Diagnostic]:
    """What is convicted; and what is only suspected, where the run is ill or does not learn."""
    loud = [finding for finding in report.at_least(Severity.WARNING) if finding.verdict.convicts]
    suspected = [finding for finding in report.diagnostics if finding.verdict is Verdict.SUSPECTED]
    return [*loud, *suspected] if loud or not falls(list(losses(trained(run)))) else loud


def holds(finding: Diagnostic, run: Run, rules: Rules) -> bool:
    """Whether the run shows the finding, as far as that can be measured."""
    rule = rules.get(finding.rule)
    if isinstance(rule, RuntimeRule):
        found = (d for d in rule.check(run) if isinstance(d, Diagnostic))
        return any(d.verdict.convicts and d.level.rank >= finding.level.rank for d in found)
    evidence = rule.confirm(run, finding) if rule else None
    return evidence is not None and evidence.holds
