"""Findings and a Run to verdicts: suspicions are held against measurements, twins merge, symptoms fold under causes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .core.diagnostic import Diagnostic, Evidence, Hint, Verdict
from .core.record import replace
from .core.rule import Rule

if TYPE_CHECKING:
    from .measure.run import Run

Rules = Mapping[str, Rule]


def correlate(findings: Iterable[Diagnostic], run: Run | None, rules: Rules) -> tuple[Diagnostic, ...]:
    """The findings of all layers with their verdicts, one per fault, causes before symptoms, worst first."""
    judged = (judge(finding, rules, run) for finding in findings)
    told = [finding for finding in judged if finding.verdict.convicts or not isinstance(finding, Hint)]
    return in_reading_order(fold(in_reading_order(merge(told, rules)), rules))


def in_reading_order(findings: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The loud ones first, among them causes before symptoms."""
    return tuple(sorted(findings, key=_reading_order))


def judge(finding: Diagnostic, rules: Rules, run: Run | None) -> Diagnostic:
    """`finding` with the evidence of the run: confirmed, not observed, or as it was where nothing could be measured."""
    if run is None or not run.steps or finding.rule not in rules or finding.verdict is Verdict.CONFIRMED:
        return finding
    rule = rules[finding.rule]
    evidence = None if rule.of_data and run.invented else rule.confirm(run, finding)
    if evidence is None:
        return finding
    return replace(finding.with_evidence(evidence), verdict=_verdict(finding.verdict, evidence))


def _verdict(read: Verdict, evidence: Evidence) -> Verdict:
    if evidence.holds:
        return Verdict.CONFIRMED
    return read if read is Verdict.CERTAIN else Verdict.NOT_OBSERVED


def merge(findings: Iterable[Diagnostic], rules: Rules) -> list[Diagnostic]:
    """One diagnostic per fault: a deeper layer's view of a fault joins the finding that was read first."""
    kept: list[Diagnostic] = []
    for finding in findings:
        twin = next((i for i, first in enumerate(kept) if _same_fault(first, finding, rules)), None)
        if twin is None:
            kept.append(finding)
        else:
            kept[twin] = _joined(kept[twin], finding)
    return kept


def _same_fault(first: Diagnostic, second: Diagnostic, rules: Rules) -> bool:
    if first.rule == second.rule:
        return (
            first.location.path == second.location.path
            and first.location.line == second.location.line
            and (
                first.location.module is None
                or second.location.module is None
                or first.location.module == second.location.module
            )
        )
    return first.rule in rules and second.rule in rules[first.rule].twins


def _joined(first: Diagnostic, second: Diagnostic) -> Diagnostic:
    """`first`, with what `second` knows besides: evidence, module path, the surer verdict and the higher severity.

    The message is that of the surer view; of two views by the same rule, that of the deeper one, which has seen more.
    """
    surer = second if second.verdict.convicts and not first.verdict.convicts else first
    deeper = second if second.rule == first.rule else surer
    return replace(
        first,
        severity=max(first.severity, second.severity, key=lambda severity: severity.rank),
        message=deeper.message,
        verdict=_surest(first.verdict, second.verdict),
        location=replace(first.location, module=first.location.module or second.location.module),
        evidence=tuple(_united(first.evidence, second.evidence)),
        twins=first.twins if second.rule == first.rule else tuple(dict.fromkeys((*first.twins, second.rule))),
    )


def _united(first: Sequence[Evidence], second: Sequence[Evidence]) -> Iterator[Evidence]:
    """Each measurement once, where two views differ that which shows the fault."""
    for evidence in first:
        shown = (other for other in second if _same_measure(evidence, other) and other.holds)
        yield evidence if evidence.holds else next(shown, evidence)
    yield from (e for e in second if not any(_same_measure(e, f) for f in first))


def _same_measure(one: Evidence, other: Evidence) -> bool:
    return one.claim == other.claim and str(one.series) == str(other.series)  # NaN is not equal to itself


def _surest(*verdicts: Verdict) -> Verdict:
    order = (Verdict.CONFIRMED, Verdict.CERTAIN, Verdict.SUSPECTED, Verdict.NOT_OBSERVED)
    return min(verdicts, key=order.index)


def fold(findings: Iterable[Diagnostic], rules: Rules) -> list[Diagnostic]:
    """Each convicted finding with the convicted causes that explain it, and with the symptoms that it explains."""
    present = list(findings)
    convicted = [d.rule for d in present if d.verdict.convicts and d.rule in rules]
    explains = {cause: [symptom for symptom in rules[cause].explains if symptom in convicted] for cause in convicted}
    return [
        replace(
            d,
            causes=tuple(cause for cause in explains if d.rule in explains[cause]),
            explains=tuple(explains.get(d.rule, ())),
        )
        if d.verdict.convicts
        else d
        for d in present
    ]


def _reading_order(finding: Diagnostic) -> tuple[object, ...]:
    place = finding.location
    return (
        -finding.level.rank,
        bool(finding.causes),
        -len(finding.explains),
        list(Verdict).index(finding.verdict),
        place.path or "",
        place.line or 0,
        finding.code,
        place.module or "",
    )
