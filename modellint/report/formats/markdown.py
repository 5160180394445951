"""The audit in Markdown: the verdict, a section for each cause, what works, what was not checked, and the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from modellint.core.diagnostic import Problem, Report
from modellint.core.proof import Proof
from modellint.report import trials
from modellint.report.markup import block, code, prose, sentence, table
from modellint.report.passed import outcome, reasons
from modellint.report.plain_text import printable
from modellint.report.section import aside, issue, section
from modellint.report.summary import facts, subject, tally, watched
from modellint.report.tree import grow

TAIL = 12


def render(report: Report, **_: Any) -> str:
    return "\n".join(_document(report)).rstrip() + "\n"


def _document(report: Report) -> Iterator[str]:
    findings = grow(report.diagnostics)
    convicted = [finding for finding in findings if finding.convicts]
    yield from (f"# Training audit: {code(subject(report.run))}" if report.run else "# Training audit", "")
    yield from (f"**{tally(report, findings)}**{_of_the_run(report)}.", "")
    yield from _problem(report.problem) if report.problem else ()
    if len(convicted) > 1:
        yield from (f"{place}. {issue(finding.diagnostic)}" for place, finding in enumerate(convicted, start=1))
        yield ""
    for place, finding in enumerate(convicted, start=1):
        yield from section(place, finding)
    yield from _proof(report.proof) if report.proof else ()
    yield from _listed(
        "Suspected or not observed", (aside(found.diagnostic) for found in findings if not found.convicts)
    )
    yield from _listed("What works", (_remark(check.check, outcome(check)) for check in report.passed))
    yield from _listed("Not checked", (_remark(why, ", ".join(names)) for why, names in reasons(report)))
    yield from _run(report)


def _of_the_run(report: Report) -> str:
    return f" from {prose(watched(report.run))}" if report.run else ""


def _problem(problem: Problem) -> Iterator[str]:
    place = f" at {code(str(problem.location))}" if str(problem.location) else ""
    yield from (f"> **The probe did not come to its end**{place}: {prose(problem.message)}", "")
    yield from ("What follows was read and measured until then.", "")
    if problem.detail.strip():
        yield from block(printable(problem.detail).rstrip().splitlines()[-TAIL:], "text")


def _proof(proof: Proof) -> Iterator[str]:
    yield from ("## Proof by re-running", "", f"**{sentence(proof.summary)}.**", "")
    yield from table(trials.TITLES, (tuple(map(prose, row)) for row in trials.rows(proof)))
    yield from (f"{sentence(trials.conditions(proof))}.", "") if proof.seeds else ()


def _listed(title: str, items: Iterable[str]) -> Iterator[str]:
    bullets = [f"- {item}" for item in items]
    if bullets:
        yield from (f"## {title}", "", *bullets, "")


def _remark(text: str, result: str) -> str:
    return f"{prose(text)}: {prose(result)}" if result else prose(text)


def _run(report: Report) -> Iterator[str]:
    rows: Sequence[tuple[str, str]] = [(label, prose(text)) for label, text in facts(report.run)]
    if rows:
        yield from ("## The run", "", *table(("Fact", "Value"), rows))
