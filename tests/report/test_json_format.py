"""The JSON contract."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from typing import Any, NoReturn

import example_reports as examples
import pytest
from jsonschema import Draft202012Validator

from modellint.core.diagnostic import Diagnostic, Evidence, Report, Severity, Verdict
from modellint.report import render

SCHEMA = json.loads(files("modellint.report").joinpath("schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def printed(report: Report) -> dict[str, Any]:
    """Read as strictly as another language would."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    value: dict[str, Any] = json.loads(render(report, "json"), parse_constant=refuse)
    return value


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["AUDIT", "HEALTHY", "BROKEN", "CHECKED", "EMPTY"])
def test_examples_match_the_schema(name):
    VALIDATOR.validate(printed(getattr(examples, name)))


@pytest.mark.parametrize("seed", range(60))
def test_random_reports_match_the_schema(seed):
    VALIDATOR.validate(printed(examples.random_report(seed)))


def test_keys_are_those_of_the_contract_in_its_order():
    report = printed(examples.AUDIT)
    finding = report["diagnostics"][1]
    assert list(report) == ["schema", "diagnostics", "passed", "unchecked", "problem", "proof", "run", "settings"]
    assert list(finding) == [
        *("rule", "code", "severity", "verdict", "message", "help", "location", "evidence"),
        *("fix", "remedy", "causes", "explains", "proof"),
    ]
    assert list(finding["location"]) == ["path", "line", "column", "end_line", "end_column", "module"]
    assert list(finding["evidence"][0]) == ["claim", "value", "bound", "unit", "holds", "series"]
    assert list(report["passed"][0]) == ["check", "value", "bound", "rule"]
    assert report["schema"] == "modellint/1"


@pytest.mark.parametrize("verdict", list(Verdict))
def test_severity_is_the_effective_level(verdict):
    found = printed(Report((Diagnostic("r", "ML100", Severity.ERROR, "m", verdict=verdict),)))["diagnostics"][0]
    assert found["severity"] == ("error" if verdict.convicts else "note")
    assert found["verdict"] == verdict.value


def test_numbers_that_are_not_finite_are_strings():
    evidence = Evidence("norm", math.nan, 1.0, series=(1.0, math.inf, -math.inf, None))
    report = printed(Report((Diagnostic("r", "ML100", Severity.ERROR, "m", evidence=(evidence,)),)))
    written = report["diagnostics"][0]["evidence"][0]
    assert written["value"] == "nan"
    assert written["series"] == [1.0, "inf", "-inf", None]


def test_without_a_run_there_is_an_empty_object():
    assert printed(examples.CHECKED)["run"] == {}


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("schema",), "modellint/2"),
        (("diagnostics", 0, "severity"), "fatal"),
        (("diagnostics", 0, "location", "line"), 0),
        (("diagnostics", 0, "evidence", 0, "series"), ["large"]),
        (("diagnostics", -1, "severity"), "error"),
        (("run",), None),
    ],
)
def test_the_schema_refuses_what_breaks_the_contract(place, wrong):
    report = printed(examples.AUDIT)
    holder: Any = report
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = wrong
    assert not VALIDATOR.is_valid(report)
