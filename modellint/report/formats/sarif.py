"""For code scanning: a SARIF 2.1.0 log with the rules and their documentation, and a result for each finding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modellint import __version__
from modellint.core.diagnostic import Problem, Report, Unchecked
from modellint.core.plain import to_plain
from modellint.core.rule import Rule
from modellint.report.message import shortfall
from modellint.report.plain_text import one_line
from modellint.report.sarif.places import ROOT, Object, locations
from modellint.report.sarif.results import results
from modellint.report.sarif.rules import descriptors

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(report: Report, *, rules: Iterable[Rule] = (), **_: Any) -> str:
    return json.dumps(_log(report, rules), indent=2, allow_nan=False) + "\n"


def _log(report: Report, rules: Iterable[Rule]) -> Object:
    described = descriptors(rules, report.diagnostics)
    run = {
        "tool": {"driver": {"name": "modellint", "version": __version__, "rules": described}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the repository."}}},
        "invocations": [_invocation(report, described)],
        "results": list(results(report, {rule["id"]: place for place, rule in enumerate(described)})),
        "properties": {"passed": to_plain(report.passed)},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _invocation(report: Report, described: Sequence[Object]) -> Object:
    rules = {rule["name"]: {"id": rule["id"], "index": place} for place, rule in enumerate(described)}
    notes = [_problem(report.problem, report.run)] if report.problem else []
    notes += [_unchecked(check, rules) for check in report.unchecked]
    return {"executionSuccessful": report.problem is None, "toolExecutionNotifications": notes}


def _problem(problem: Problem, run: Mapping[str, Any] | None) -> Object:
    return {"level": "error", "message": {"text": shortfall(problem)}, **locations(problem.location, run)}


def _unchecked(check: Unchecked, rules: Mapping[str, Object]) -> Object:
    text = one_line(f"Not checked: {check.check} ({check.reason})")
    rule = {"associatedRule": rules[check.rule]} if check.rule in rules else {}
    return {"level": "note", "message": {"text": text}, **rule}
