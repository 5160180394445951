"""For other programs: the object that `schema.json` describes, as strict JSON in a fixed order."""

from __future__ import annotations

import json
from typing import Any

from modellint.core.diagnostic import Diagnostic, Report
from modellint.core.plain import to_plain

OF_A_DIAGNOSTIC = (
    *("rule", "code", "severity", "verdict", "message", "help", "location", "evidence"),
    *("fix", "remedy", "causes", "explains", "proof"),
)


def render(report: Report, **_: Any) -> str:
    return json.dumps(_contract(report), indent=2, allow_nan=False, default=str) + "\n"


def _contract(report: Report) -> dict[str, Any]:
    return {
        "schema": report.schema,
        "diagnostics": [_diagnostic(diagnostic) for diagnostic in report.diagnostics],
        "passed": to_plain(report.passed),
        "unchecked": to_plain(report.unchecked),
        "problem": to_plain(report.problem),
        "proof": to_plain(report.proof),
        "run": to_plain(report.run or {}),
        "settings": to_plain(report.settings),
    }


def _diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    """`severity` is the level that is reported: a note until the finding is certain or measured."""
    plain = {name: to_plain(getattr(diagnostic, name)) for name in OF_A_DIAGNOSTIC}
    return {**plain, "severity": diagnostic.level.value}
