"""Annotations, parsed as the runner of GitHub Actions parses them, and the summary of the job."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import example_reports as examples
import pytest

from modellint.core.diagnostic import Diagnostic, Location, Report, Severity, Verdict
from modellint.report import render
from modellint.report.formats import github

COMMAND = re.compile(r"^::(\w+) ([^:]*)::(.*)$")


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    match = COMMAND.match(line)
    assert match, line
    kind, properties, message = match.groups()
    pairs = (pair.split("=", 1) for pair in properties.split(","))
    return kind, {name: unescaped(text) for name, text in pairs}, unescaped(message)


def unescaped(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, character)
    return text


def annotations(*findings: Diagnostic) -> list[tuple[str, dict[str, str], str]]:
    lines = render(Report(findings), "github").splitlines()
    return [parsed(line) for line in lines if line.startswith("::")]


def finding(number: int, severity: Severity, verdict: Verdict = Verdict.CERTAIN) -> Diagnostic:
    return Diagnostic(f"rule-{number}", f"ML{number}", severity, "m", Location("train.py", number), verdict)


def test_an_annotation_names_place_rule_and_verdict_and_says_what_was_measured():
    kind, properties, message = annotations(examples.LARGE_RATE)[0]
    assert kind == "error"
    assert properties == {
        "file": "train.py",
        "line": "16",
        "endLine": "16",
        "col": "17",
        "endColumn": "61",
        "title": "ML140 large-learning-rate (confirmed)",
    }
    assert message.splitlines() == [
        "Adam with a learning rate of 1.5",
        "measured: median update over weight: 0.62 (0.2 .. 0.9), above 0.1 in 10 of 10 steps",
        "fix: start at 1e-3",
    ]


def test_levels_and_their_kinds():
    kinds = [kind for kind, _, _ in annotations(*(finding(n, s) for n, s in enumerate(Severity, start=1)))]
    assert kinds == ["error", "warning", "notice"]
    assert annotations(finding(1, Severity.ERROR, Verdict.SUSPECTED))[0][0] == "notice"


def test_the_most_certain_and_severe_come_first():
    shuffled = [
        finding(1, Severity.WARNING, Verdict.NOT_OBSERVED),
        finding(2, Severity.WARNING, Verdict.SUSPECTED),
        finding(3, Severity.ERROR, Verdict.SUSPECTED),
        finding(4, Severity.NOTE, Verdict.CERTAIN),
        finding(5, Severity.ERROR, Verdict.CONFIRMED),
        finding(6, Severity.ERROR, Verdict.CERTAIN),
    ]
    assert [properties["line"] for _, properties, _ in annotations(*shuffled)] == ["6", "5", "4", "3", "2", "1"]


def test_at_most_ten_of_a_kind_and_a_line_that_says_so():
    findings = [finding(n, s) for s in Severity for n in range(1, 14)]
    lines = render(Report(tuple(findings)), "github").splitlines()
    assert [sum(line.startswith(f"::{kind} ") for line in lines) for kind in ("error", "warning", "notice")] == [10] * 3
    assert sum("10 of 13" in line for line in lines) == 3
    assert "of" not in render(Report((finding(1, Severity.ERROR),)), "github")


def test_a_problem_is_the_first_error_and_counts_as_one():
    report = Report(tuple(finding(n, Severity.ERROR) for n in range(1, 14)), problem=examples.BROKEN.problem)
    lines = [line for line in render(report, "github").splitlines() if line.startswith("::error")]
    assert len(lines) == 10
    assert parsed(lines[0])[1]["line"] == "19"
    assert "ValueError" in parsed(lines[0])[2]


def test_nothing_of_the_user_ends_a_property_or_begins_a_command():
    odd = replace(
        examples.LARGE_RATE,
        rule="a,b::c",
        message="100%0A sure\n::error file=x::boo\r\n::stop-commands::x",
        location=Location("a,b:c%.py", 3),
        evidence=(),
        fix=None,
    )
    lines = render(Report((odd,)), "github").splitlines()
    assert len(lines) == 1
    _, properties, message = parsed(lines[0])
    assert properties["file"] == "a,b:c%.py"
    assert properties["title"] == "ML140 a,b::c (confirmed)"
    assert message == "100%0A sure ::error file=x::boo ::stop-commands::x"


@pytest.mark.parametrize("seed", range(20))
def test_any_report_is_well_formed(seed):
    for line in render(examples.random_report(seed), "github").splitlines():
        assert parsed(line)[0] in ("error", "warning", "notice")


def test_a_place_of_several_lines_has_no_columns():
    (annotation,) = annotations(replace(examples.LARGE_RATE, location=Location("train.py", 16, 17, 18, 2)))
    assert set(annotation[1]) == {"file", "line", "endLine", "title"}


def test_a_finding_without_a_file_is_still_annotated():
    (annotation,) = annotations(replace(examples.LARGE_RATE, location=Location(module="head")))
    assert set(annotation[1]) == {"title"}


def test_a_finding_in_a_notebook_names_its_cell_and_its_line_in_words():
    place = Location("notes.ipynb", 3, 5, 3, 9, module="cell 2")
    text = render(Report((Diagnostic("r", "ML300", Severity.NOTE, "m", place),)), "github")
    assert text == "::notice file=notes.ipynb,line=1,title=ML300 r (suspected)::m in cell 2, line 3\n"


def test_the_audit_goes_behind_what_the_summary_holds(tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("# Another step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    text = render(examples.AUDIT, "github")
    assert summary.read_text(encoding="utf-8") == "# Another step\n" + render(examples.AUDIT, "markdown")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "")
    assert render(examples.AUDIT, "github") == text


def test_a_summary_that_would_be_too_long_is_cut_and_says_so(tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setattr(github, "SUMMARY_BYTES", 1_500)
    render(examples.AUDIT, "github")
    assert 1_000 < summary.stat().st_size <= 1_500
    assert summary.read_text(encoding="utf-8").endswith("longer than a summary may be.\n")


def test_a_summary_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "gone" / "summary.md"))
    last = render(examples.AUDIT, "github").splitlines()[-1]
    assert last.startswith("::warning title=modellint::the summary cannot be written")
    assert not Path("gone").exists()
