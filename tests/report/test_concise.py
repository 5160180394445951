"""One line a finding."""

from __future__ import annotations

import re
from dataclasses import replace

import example_reports as examples
import pytest

from modellint.core.diagnostic import Evidence, Location, Report
from modellint.report import render

LINE = re.compile(r"^(?P<path>[^:\n]+)(:\d+(:\d+)?)?: (error|warning|note)(\[\w+ [\w-]+\])? .*\)$")


def lines(report: Report) -> list[str]:
    return render(report, "concise").splitlines()


def test_a_line_says_where_what_how_sure_and_the_key_number():
    assert lines(examples.AUDIT)[0] == (
        "train.py:16:17: error[ML140 large-learning-rate] Adam with a learning rate of 1.5 "
        "(confirmed; median update over weight: 0.62 (0.2 .. 0.9), above 0.1 in 10 of 10 steps)"
    )


def test_symptoms_have_their_own_lines_and_name_their_cause():
    symptom = next(line for line in lines(examples.AUDIT) if "ML309" in line)
    assert symptom.startswith("train.py:19:16: warning[ML309 collapsed-predictions]")
    assert symptom.endswith("; distinct predictions: 3 of 10; symptom of exploding-gradients)")


def test_what_is_not_convicted_is_a_note():
    assert "train.py:16:17: note[ML199 missing-warm-up] no warm-up before the full learning rate (suspected)" in lines(
        examples.AUDIT
    )


def test_a_problem_has_its_line():
    assert lines(examples.BROKEN)[-1].startswith("train.py:19:16: error: the script raised ValueError")


def test_nothing_found_is_nothing_printed():
    assert lines(examples.HEALTHY) == []


@pytest.mark.parametrize("seed", range(30))
def test_every_finding_is_exactly_one_line(seed):
    report = examples.random_report(seed)
    printed = lines(report)
    assert len(printed) == len(report.diagnostics) + bool(report.problem)
    assert all(LINE.match(line) for line in printed[: len(report.diagnostics)])


def test_a_finding_without_a_file_keeps_the_shape():
    report = Report(
        (examples.LARGE_RATE.__class__("r", "ML300", examples.LARGE_RATE.severity, "m", Location(module="head")),)
    )
    assert lines(report) == ["-: note[ML300 r] m in head (suspected)"]


def test_the_key_number_is_one_that_convicts():
    innocent, guilty = Evidence("early", 1.0, 9.0, holds=False), Evidence("late", 12.0, 9.0)
    report = Report((replace(examples.LARGE_RATE, evidence=(innocent, guilty)),))
    assert lines(report)[0].endswith("(confirmed; late: 12, above 9)")


def test_a_cell_of_a_notebook_stands_in_the_place_once():
    place = Location("notes.ipynb", 3, 5, module="cell 2")
    report = Report((examples.LARGE_RATE.__class__("r", "ML300", examples.LARGE_RATE.severity, "m", place),))
    assert lines(report) == ["notes.ipynb:cell 2:3:5: note[ML300 r] m (suspected)"]
