"""The Code Quality report, held against what GitLab documents."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import example_reports as examples
import pytest
from jsonschema import Draft202012Validator

from modellint.core.diagnostic import Location, Report
from modellint.report import render

DOCUMENTED = Draft202012Validator(
    {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["description", "check_name", "fingerprint", "severity", "location"],
            "additionalProperties": False,
            "properties": {
                "description": {"type": "string", "minLength": 1},
                "check_name": {"type": "string", "minLength": 1},
                "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
                "location": {
                    "type": "object",
                    "required": ["path", "lines"],
                    "properties": {
                        "path": {"type": "string", "pattern": r"^(?!\./)[^\\]+$"},
                        "lines": {
                            "type": "object",
                            "required": ["begin"],
                            "properties": {name: {"type": "integer", "minimum": 1} for name in ("begin", "end")},
                        },
                    },
                },
            },
        },
    }
)


def issues(report: Report) -> Any:
    written = json.loads(render(report, "gitlab"))
    DOCUMENTED.validate(written)
    return written


@pytest.mark.parametrize("seed", range(20))
def test_any_report_is_as_documented_and_its_fingerprints_are_unique(seed):
    report = examples.random_report(seed)
    found = issues(report)
    assert len(found) == len(report.diagnostics) + bool(report.problem)
    assert len({issue["fingerprint"] for issue in found}) == len(found)


def test_an_issue_says_what_where_and_how_bad():
    first = issues(examples.AUDIT)[0]
    assert first["check_name"] == "large-learning-rate"
    assert first["severity"] == "critical"
    assert first["location"] == {"path": "train.py", "lines": {"begin": 16, "end": 16}}
    assert first["description"] == (
        "Adam with a learning rate of 1.5 (confirmed; median update over weight: 0.62 (0.2 .. 0.9), "
        "above 0.1 in 10 of 10 steps). Fix: start at 1e-3"
    )


def test_severities_follow_the_level():
    severities = {issue["check_name"]: issue["severity"] for issue in issues(examples.AUDIT)}
    assert severities["clip-never-binds"] == "major"
    assert severities["stale-gradients"] == severities["missing-warm-up"] == "info"


def test_a_problem_is_a_blocker():
    first = issues(examples.BROKEN)[0]
    assert (first["severity"], first["location"]["lines"]["begin"]) == ("blocker", 19)


def test_a_finding_without_a_file():
    nowhere = replace(examples.LARGE_RATE, location=Location())
    assert issues(Report((nowhere,)))[0]["location"] == {"path": ".", "lines": {"begin": 1, "end": 1}}
    assert issues(Report((nowhere,), run=examples.RUN))[0]["location"]["path"] == "train.py"


def test_nothing_found_is_an_empty_list():
    assert issues(examples.HEALTHY) == []
