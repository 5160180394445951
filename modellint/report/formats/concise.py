"""For grep and editors: one line a finding, `path:line:column: level[CODE name] message (verdict; key number)`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modellint.core.diagnostic import Diagnostic, Location, Report
from modellint.core.record import replace
from modellint.report.message import statement
from modellint.report.plain_text import one_line


def render(report: Report, **_: Any) -> str:
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from (_line(diagnostic) for diagnostic in report.diagnostics)
    if report.problem:
        yield one_line(f"{_place(report.problem.location)}: error: {report.problem.message}")


def _line(finding: Diagnostic) -> str:
    named = f"{finding.level}[{finding.code} {finding.rule}]"
    symptom = f"symptom of {finding.causes[0]}" if finding.causes else ""
    place = finding.location
    told = replace(finding, location=replace(place, module=None)) if place.in_notebook else finding
    return one_line(f"{_place(place)}: {named} {statement(told, symptom)}")


def _place(location: Location) -> str:
    cell = location.module if location.in_notebook else None
    parts = (location.path or "-", cell, location.line, location.column if location.line else None)
    return ":".join(str(part) for part in parts if part is not None)
