"""The SARIF log, held against the standard and read by Microsoft's own tools."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import example_reports as examples
import pytest
from jsonschema import Draft202012Validator
from sarif import loader

from modellint.core import registry
from modellint.core.diagnostic import Diagnostic, Location, Report, Severity, Verdict
from modellint.core.rule import GraphRule, RuntimeRule, SourceRule
from modellint.report import render

PROFILE = json.loads(Path(__file__).with_name("sarif_profile.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(PROFILE)


class ClippedLate(SourceRule):
    """Clipped *after* `step()`.

    Why: nobody reads the gradients.
    Fix: move it.
    Reported: https://example.org/issues/1, https://example.org/issues/2
    """

    name, code, severity, certain, topic = "clipped-late", "ML904", Severity.ERROR, True, "gradients"
    explains, twins = ("exploding", "unknown"), ("unnormalised",)
    bad = "step()\nclip()"
    good = ("clip()\nstep()", "step()")
    most = 3.5


class Unnormalised(GraphRule):
    """No norm."""

    name, code = "unnormalised", "ML905"


class Exploding(RuntimeRule):
    """The gradients explode."""

    name, code, severity = "exploding", "ML906", Severity.NOTE


RULES = (ClippedLate(), Unnormalised(), Exploding())


def run_of(report: Report, rules: Any = ()) -> Any:
    log = json.loads(render(report, "sarif", rules=rules))
    VALIDATOR.validate(log)
    return log["runs"][0]


def results(*findings: Diagnostic) -> Any:
    return run_of(Report(findings))["results"]


def test_the_profile_is_a_schema():
    Draft202012Validator.check_schema(PROFILE)


@pytest.mark.parametrize("name", ["AUDIT", "HEALTHY", "BROKEN", "CHECKED", "EMPTY"])
def test_examples_keep_the_profile(name):
    run_of(getattr(examples, name), RULES)


@pytest.mark.parametrize("seed", range(40))
def test_random_reports_keep_the_profile(seed):
    report = examples.random_report(seed)
    assert len(run_of(report, RULES)["results"]) == len(report.diagnostics)


def test_all_rules_of_modellint_keep_the_profile():
    described = run_of(examples.EMPTY, registry.load())["tool"]["driver"]["rules"]
    assert {"ML104", "ML201", "ML302"} <= {rule["id"] for rule in described}
    assert all(rule["helpUri"].startswith("https://") for rule in described)


def test_another_reader_sees_the_findings(tmp_path):
    (tmp_path / "log.sarif").write_text(render(examples.AUDIT, "sarif", rules=RULES))
    log = loader.load_sarif_file(str(tmp_path / "log.sarif"))
    assert log.get_distinct_tool_names() == ["modellint"]
    assert Counter(record["Severity"] for record in log.get_records()) == {"error": 3, "warning": 4, "note": 2}
    seen = {(record["Code"], record["Location"], record["Line"]) for record in log.get_records()}
    assert ("ML140", "train.py", 16) in seen
    assert ("ML302", "train.py", 12) in seen


def test_a_rule_is_documented():
    rule = run_of(examples.EMPTY, RULES)["tool"]["driver"]["rules"][0]
    assert (rule["id"], rule["name"]) == ("ML904", "clipped-late")
    assert rule["shortDescription"]["text"] == "Clipped *after* `step()`."
    assert rule["help"]["text"].endswith("Why it hurts: nobody reads the gradients.\n\nWhat to do: move it.")
    page = rule["help"]["markdown"]
    assert page.startswith("Clipped \\*after\\* `step()`.\n")
    assert "## What to do\n\nMove it.\n" in page
    assert "## Bad\n\n```python\nstep()\nclip()\n```" in page
    assert page.count("## Good") == 1
    assert page.endswith("## Options in `[tool.modellint.rules.clipped-late]`\n\n- `most = 3.5`")
    assert rule["helpUri"] == "https://example.org/issues/1"
    assert rule["defaultConfiguration"] == {"level": "error"}


def test_layer_topic_and_precision():
    rules = run_of(examples.EMPTY, RULES)["tool"]["driver"]["rules"]
    assert [rule["properties"]["tags"] for rule in rules] == [["source", "gradients"], ["graph"], ["runtime"]]
    assert [rule["properties"]["precision"] for rule in rules] == ["very-high", "medium", "high"]
    assert [rule["properties"]["problem.severity"] for rule in rules] == ["error", "warning", "recommendation"]


def test_what_a_rule_explains_and_its_twins_are_related_to_it():
    first, *others = run_of(examples.EMPTY, RULES)["tool"]["driver"]["rules"]
    assert first["relationships"] == [
        {"target": {"id": "ML906", "index": 2}, "kinds": ["canFollow"]},
        {"target": {"id": "ML905", "index": 1}, "kinds": ["relevant"]},
    ]
    assert not any("relationships" in rule for rule in others)


def test_a_result_points_to_its_rule_and_to_its_place():
    finding = replace(examples.LARGE_RATE, rule="unnormalised", code="ML905")
    run = run_of(Report((finding,)), RULES)
    (result,) = run["results"]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("ML905", 1, "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "train.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 16, "startColumn": 17, "endLine": 16, "endColumn": 61}
    assert result["properties"]["verdict"] == "confirmed"
    assert result["properties"]["evidence"][0]["value"] == 0.62


def test_what_no_rule_says_is_described_too():
    unreadable = Diagnostic("unreadable-file", "ML000", Severity.ERROR, "a bracket is open", verdict=Verdict.CERTAIN)
    run = run_of(Report((unreadable,)), RULES)
    assert run["tool"]["driver"]["rules"][run["results"][0]["ruleIndex"]]["shortDescription"]["text"] == (
        "Unreadable file"
    )


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_what_convicts_keeps_its_level(verdict):
    (result,) = results(replace(examples.LARGE_RATE, verdict=verdict))
    assert result["level"] == ("error" if verdict.convicts else "note")
    assert "suppressions" not in result


def test_a_module_path_is_a_logical_location():
    (result,) = results(replace(examples.LARGE_RATE, location=Location(module="encoder.layers.0")))
    assert result["locations"] == [{"logicalLocations": [{"fullyQualifiedName": "encoder.layers.0", "kind": "module"}]}]


def test_causes_and_symptoms_are_linked_both_ways():
    found = {result["ruleId"]: result for result in run_of(examples.AUDIT)["results"]}
    cause, symptom = found["ML201"], found["ML309"]
    assert "Explains [exploding-gradients](1), [exploding-gradients](2)." in cause["message"]["text"]
    assert [place["id"] for place in cause["relatedLocations"]] == [1, 2]
    assert "Symptom of [exploding-gradients](1)." in symptom["message"]["text"]
    assert symptom["relatedLocations"][0]["physicalLocation"]["region"]["startLine"] == 12
    assert symptom["properties"]["causes"] == ["exploding-gradients"]


def test_an_index_and_a_call_are_no_link():
    (result,) = results(replace(examples.LARGE_RATE, message="`losses[0](x)` is odd", fix="use [a](b)", evidence=()))
    assert "](" not in result["message"]["text"]
    assert "`losses[0](x)`" in result["message"]["markdown"]


def test_the_path_is_that_in_the_repository(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path / "a b")
    inside, outside = (replace(examples.LARGE_RATE, location=Location(path, 1)) for path in ("ü.py", "/elsewhere/x.py"))
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in results(inside, outside)]
    assert places == [{"uri": "a%20b/%C3%BC.py", "uriBaseId": "%SRCROOT%"}, {"uri": "file:///elsewhere/x.py"}]


def test_a_finding_of_the_whole_run_hangs_on_its_script():
    report = Report((replace(examples.LARGE_RATE, location=Location()),), run=examples.RUN)
    place = run_of(report)["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "train.py"
    assert place["region"] == {"startLine": 1}


@pytest.mark.parametrize(
    ("location", "region"),
    [
        (Location("x.py"), {"startLine": 1}),
        (Location("x.py", 0, 3), {"startLine": 1}),
        (Location("x.py", 5), {"startLine": 5, "endLine": 5}),
        (Location("x.py", 5, 7, 3, 9), {"startLine": 5, "startColumn": 7, "endLine": 5}),
        (Location("x.py", 5, 7, 5, 7), {"startLine": 5, "startColumn": 7, "endLine": 5}),
        (Location("x.py", 5, 7, 6, 2), {"startLine": 5, "startColumn": 7, "endLine": 6, "endColumn": 2}),
    ],
)
def test_a_region_does_not_contradict_itself(location, region):
    (result,) = results(replace(examples.LARGE_RATE, location=location))
    assert result["locations"][0]["physicalLocation"]["region"] == region


def test_a_probe_that_broke_and_a_check_that_was_not_made_are_notifications():
    (invocation,) = run_of(examples.BROKEN)["invocations"]
    assert not invocation["executionSuccessful"]
    (problem,) = invocation["toolExecutionNotifications"]
    assert problem["level"] == "error"
    assert problem["locations"][0]["physicalLocation"]["region"]["startLine"] == 19
    (invocation,) = run_of(
        replace(examples.AUDIT, unchecked=(replace(examples.UNCHECKED[0], rule="exploding"),)), RULES
    )["invocations"]
    assert invocation["executionSuccessful"]
    assert invocation["toolExecutionNotifications"][0]["associatedRule"] == {"id": "ML906", "index": 2}
