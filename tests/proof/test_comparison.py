"""Runs side by side, kept by name, from the command line."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from modellint.cli import cli
from modellint.core.diagnostic import Diagnostic, Report, Severity, Verdict
from modellint.core.plain import to_plain
from modellint.measure.run import Run
from modellint.measure.step import Step
from modellint.proof.comparison import compare


def run(*losses: float, **fields) -> Run:
    return Run(tuple(Step(i, loss=loss, gradient_norm_at_step=1.0) for i, loss in enumerate(losses)), **fields)


def report(*rules: str) -> Report:
    return Report(tuple(Diagnostic(rule, "ML1", Severity.ERROR, "", verdict=Verdict.CONFIRMED) for rule in rules))


GOOD, BAD = run(4.0, 3.0, 2.0, 1.5, 1.0), run(4.0, 5.0, 6.0, 7.0, 8.0)


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(GOOD, BAD, "worse"), (BAD, GOOD, "better"), (GOOD, GOOD, "same")]
)
def test_by_the_loss_at_equal_steps(before, after, expected):
    assert compare(before, report(), after, report()).verdict == expected


def test_a_new_finding_is_worse_whatever_the_loss():
    found = compare(BAD, report("a"), GOOD, report("b"))
    assert (found.verdict, found.gone, found.new) == ("worse", ("a",), ("b",))


def test_the_shorter_run_sets_the_steps():
    found = compare(GOOD, report(), run(4.0, 3.0, 2.0), report())
    assert found.steps == 3
    assert found.verdict == "same"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, kept in (("good", GOOD), ("bad", BAD)):
        (tmp_path / f"{name}.json").write_text(json.dumps(to_plain(kept)))


def call(*words: str):
    return CliRunner().invoke(cli, words)


@pytest.mark.usefixtures("runs")
def test_compare_fails_on_worse_only_when_asked():
    done = call("compare", "good.json", "bad.json", "--fail-on", "worse")
    assert done.exit_code == 1
    assert "bad.json is worse" in done.output
    assert call("compare", "good.json", "bad.json").exit_code == 0
    assert call("compare", "bad.json", "good.json", "--fail-on", "worse").exit_code == 0


@pytest.mark.usefixtures("runs")
def test_a_kept_run_is_compared_by_its_name(tmp_path):
    assert call("baseline", "good.json", "main").exit_code == 0
    assert (tmp_path / ".modellint" / "main.json").exists()
    assert call("compare", "main", "bad.json", "--fail-on", "worse").exit_code == 1


@pytest.mark.usefixtures("runs")
def test_what_is_no_run_is_said(tmp_path):
    (tmp_path / "odd.json").write_text("[]")
    assert "none is kept" in str(call("compare", "nothing", "good.json").exception)
    assert "no recorded run" in str(call("compare", "odd.json", "good.json").exception)
    assert "not a path" in str(call("baseline", "good.json", "../main").exception)
