"""For GitHub Actions: annotations at the lines, most certain first, and the audit in the summary of the job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modellint.core.diagnostic import Diagnostic, Location, Problem, Report, Severity, Verdict
from modellint.report.anchor import anchor
from modellint.report.formats import markdown
from modellint.report.message import details, said, shortfall
from modellint.report.numbers import count
from modellint.report.plain_text import one_line

MOST = 10  # of each kind: GitHub shows no more for a step
SUMMARY_BYTES = 1024 * 1024  # GitHub drops a longer summary
KINDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(report: Report, **_: Any) -> str:
    return "".join(f"{line}\n" for line in (*_lines(report), *_summary(report)))


def _lines(report: Report) -> Iterator[str]:
    if report.problem:
        yield _problem(report.problem, report)
    ordered = sorted(report.diagnostics, key=_rank)
    for level, kind in KINDS.items():
        room = MOST - (level is Severity.ERROR and report.problem is not None)
        found = [finding for finding in ordered if finding.level is level]
        yield from (_annotation(kind, finding, report) for finding in found[:room])
        if len(found) > room:
            yield f"{room} of {count(len(found), level)} are annotated; the summary of the job has them all."


def _rank(finding: Diagnostic) -> tuple[int, int]:
    return list(Verdict).index(finding.verdict), -finding.severity.rank


def _annotation(kind: str, finding: Diagnostic, report: Report) -> str:
    title = f"{finding.code} {finding.rule} ({finding.verdict})"
    return _command(kind, anchor(finding.location, report.run), title, [said(finding), *details(finding)])


def _problem(problem: Problem, report: Report) -> str:
    return _command("error", anchor(problem.location, report.run), "modellint", [shortfall(problem)])


def _command(kind: str, place: Location, title: str, lines: Sequence[str]) -> str:
    """Columns only within a line: GitHub takes none for a place of several."""
    within = place.line == place.end_line
    properties = {
        "file": place.path,
        "line": place.line,
        "endLine": place.end_line,
        "col": place.column if within else None,
        "endColumn": place.end_column if within else None,
        "title": title,
    }
    given = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value is not None)
    return f"::{kind} {given}::{_data(chr(10).join(lines))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")


def _summary(report: Report) -> Iterator[str]:
    """The audit goes behind what other steps of the job have written; a line only where that fails."""
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return
    try:
        _append(Path(target), markdown.render(report).encode())
    except OSError as error:
        yield f"::warning title=modellint::{_data(f'the summary cannot be written: {error}')}"


def _append(target: Path, text: bytes) -> None:
    room = SUMMARY_BYTES - (target.stat().st_size if target.exists() else 0)
    if len(text) > room:
        note = b"\n\nThe report is longer than a summary may be.\n"
        text = text[: max(room - len(note), 0)].rpartition(b"\n\n")[0] + note
    with target.open("ab") as file:
        file.write(text)
