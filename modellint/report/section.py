"""The section of an audit about one cause: issue, finding, impact, root cause, recommended fix."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from modellint.core.diagnostic import Diagnostic, Evidence

from .excerpt import excerpt, whereabouts
from .markup import block, code, prose, sentence, table
from .reading import against_bound, figures, gaps, value
from .sparkline import sparkline
from .tree import Finding


def section(place: int, finding: Finding) -> Iterator[str]:
    diagnostic = finding.diagnostic
    yield from (f"## {place}. {sentence(diagnostic.message)}", "")
    yield from _issue(diagnostic)
    yield from _finding(diagnostic)
    yield from _paragraph("Impact", diagnostic.help)
    yield from _root_cause(finding)
    yield from _fixes(finding)
    yield from _paragraph("Proof", diagnostic.proof or "")


def issue(diagnostic: Diagnostic) -> str:
    """One line: the message, how sure it is, and where."""
    where = code(whereabouts(diagnostic.location))
    return (
        f"**{sentence(diagnostic.message)}** ({', '.join(filter(None, (diagnostic.level, diagnostic.verdict, where)))})"
    )


def aside(diagnostic: Diagnostic) -> str:
    """`issue` with its numbers, for what is not convicted."""
    return ". ".join((issue(diagnostic), *(_measured(evidence) for evidence in diagnostic.evidence)))


def _issue(diagnostic: Diagnostic) -> Iterator[str]:
    where = whereabouts(diagnostic.location)
    named = f"{code(diagnostic.rule)} ({diagnostic.code}), {diagnostic.level}, {diagnostic.verdict}"
    yield from (f"**Issue.** {named}{f', at {code(where)}' if where else ''}", "")
    source = textwrap.dedent("\n".join(line.text for line in excerpt(diagnostic.location)))
    if source:
        yield from block(source.splitlines(), "python")


def _finding(diagnostic: Diagnostic) -> Iterator[str]:
    if not diagnostic.evidence:
        return
    yield from ("**Finding.**", "")
    titles = ("Measured", "Value", "Against its bound", "Over the steps")
    yield from table(titles, (_row(evidence) for evidence in diagnostic.evidence))


def _row(evidence: Evidence) -> tuple[str, ...]:
    standing = ", ".join((against_bound(evidence), *gaps(evidence))).strip(", ")
    return prose(evidence.claim), prose(value(evidence)), prose(standing), code(sparkline(evidence.series))


def _paragraph(title: str, text: str) -> Iterator[str]:
    if text:
        yield from (f"**{title}.** {sentence(text)}", "")


def _root_cause(finding: Finding) -> Iterator[str]:
    also = ", ".join(map(code, finding.shared))
    if also:
        yield from (f"**Root cause**, beside another finding, of {also}.", "")
    if not finding.symptoms:
        return
    yield from ("**Root cause** of what else was seen:", "")
    for depth, symptom in finding.descendants():
        where = whereabouts(symptom.location)
        numbers = "; ".join(_measured(evidence) for evidence in symptom.evidence)
        text = f"{code(symptom.rule)}{f' at {code(where)}' if where else ''}: {prose(symptom.message)}"
        yield f"{'  ' * depth}- {text}{f' ({numbers})' if numbers else ''}"
    yield ""


def _measured(evidence: Evidence) -> str:
    return ": ".join(filter(None, (prose(evidence.claim), prose(figures(evidence)))))


def _fixes(finding: Finding) -> Iterator[str]:
    """The cause's fix first; those of its symptoms after it, for what should stay."""
    first = finding.diagnostic.fix
    after = {symptom.fix: symptom.rule for _, symptom in finding.descendants() if symptom.fix and symptom.fix != first}
    steps = [sentence(first)] if first else []
    steps += [f"If {code(rule)} stays: {prose(fix)}" for fix, rule in after.items()]
    if steps:
        yield from ("**Recommended fix.**", "", *(f"{place}. {step}" for place, step in enumerate(steps, start=1)), "")
