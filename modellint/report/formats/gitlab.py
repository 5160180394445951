"""For merge requests on GitLab: a Code Quality report, one object a finding."""

from __future__ import annotations

import json
from typing import Any

from modellint.core.diagnostic import Diagnostic, Location, Problem, Report, Severity
from modellint.report.anchor import anchor
from modellint.report.fingerprint import digest, fingerprints
from modellint.report.message import shortfall, statement
from modellint.report.plain_text import one_line

SEVERITY = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.NOTE: "info"}


def render(report: Report, **_: Any) -> str:
    prints = fingerprints(report.diagnostics)
    issues = [_issue(finding, prints[place], report) for place, finding in enumerate(report.diagnostics)]
    if report.problem:
        issues.insert(0, _problem(report.problem, report))
    return json.dumps(issues, indent=2) + "\n"


def _issue(finding: Diagnostic, identity: str, report: Report) -> dict[str, Any]:
    fix = f". Fix: {one_line(finding.fix)}" if finding.fix else ""
    return {
        "description": statement(finding) + fix,
        "check_name": finding.rule,
        "fingerprint": identity,
        "severity": SEVERITY[finding.level],
        "location": _place(finding.location, report),
    }


def _problem(problem: Problem, report: Report) -> dict[str, Any]:
    message = shortfall(problem)
    return {
        "description": message,
        "check_name": "probe",
        "fingerprint": digest("probe", message),
        "severity": "blocker",
        "location": _place(problem.location, report),
    }


def _place(location: Location, report: Report) -> dict[str, Any]:
    """A path and a line are required; the repository stands for a finding that belongs to no file."""
    place = anchor(location, report.run)
    begin = place.line or 1
    return {"path": place.path or ".", "lines": {"begin": begin, "end": place.end_line or begin}}
