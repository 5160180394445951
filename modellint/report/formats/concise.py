"""For grep and editors: one line a finding, `path:line:column: level[CODE name] message (verdict; key number)`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modellint.core.diagnostic import Diagnostic, Location, Report
from modellint.report.plain_text import one_line
from modellint.report.reading import figures


def render(report: Report, **_: Any) -> str:
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from (_line(diagnostic) for diagnostic in report.diagnostics)
    if report.problem:
        yield one_line(f"{_place(report.problem.location)}: error: {report.problem.message}")


def _line(finding: Diagnostic) -> str:
    named = f"{finding.level}[{finding.code} {finding.rule}]"
    module = f" in {finding.location.module}" if finding.location.module else ""
    return one_line(f"{_place(finding.location)}: {named} {finding.message}{module} ({'; '.join(_remarks(finding))})")


def _place(location: Location) -> str:
    parts = (location.path or "-", location.line, location.column if location.line else None)
    return ":".join(str(part) for part in parts if part is not None)


def _remarks(finding: Diagnostic) -> Iterator[str]:
    yield str(finding.verdict)
    key = next((e for e in finding.evidence if e.holds == finding.verdict.convicts), None)
    if key and (numbers := figures(key)):
        yield f"{key.claim}: {numbers}"
    if finding.causes:
        yield f"symptom of {finding.causes[0]}"
