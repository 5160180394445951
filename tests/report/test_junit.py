"""The test report, read by junitparser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import example_reports as examples
import pytest
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase

from modellint.core.diagnostic import Location, Report, Severity, Verdict
from modellint.core.rule import RuntimeRule, SourceRule
from modellint.report import render

CONVICTED = Report((examples.LARGE_RATE, replace(examples.LARGE_RATE, location=Location("train.py", 99))))


class Silent(SourceRule):
    """Reads."""

    name, code = "silent", "ML904"


class Unasked(RuntimeRule):
    """Measures."""

    name, code = "unasked", "ML905"


def cases(report: Report, rules: Any = ()) -> dict[tuple[str, str], TestCase]:
    """All cases by suite and name; the totals are those of the cases."""
    xml = JUnitXml.fromstring(render(report, "junit", rules=rules).encode())
    before = [(suite.tests, suite.failures, suite.errors, suite.skipped) for suite in xml]
    total = (xml.tests, xml.failures, xml.errors)
    for suite in xml:
        suite.update_statistics()
    assert before == [(suite.tests, suite.failures, suite.errors, suite.skipped) for suite in xml]
    assert total == tuple(sum(counts[place] for counts in before) for place in range(3))
    return {(suite.name, case.name): case for suite in xml for case in suite}


@pytest.mark.parametrize("seed", range(20))
def test_any_report_is_read(seed):
    cases(examples.random_report(seed))


def test_the_findings_of_a_rule_in_a_file_are_one_case():
    ((_, case),) = cases(CONVICTED).items()
    assert (case.classname, case.name) == ("train", "large-learning-rate")
    (failure,) = case.result
    assert isinstance(failure, Failure)
    assert failure.type == "error"
    assert failure.message.startswith("Adam with a learning rate of 1.5 (confirmed;")
    assert failure.message.endswith("(and 1 more)")
    assert "train.py:16:17: error[ML140]" in failure.text
    assert "train.py:99: error[ML140]" in failure.text
    assert "  fix: start at 1e-3" in failure.text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_what_convicts_fails(verdict):
    (case,) = cases(Report((replace(examples.LARGE_RATE, verdict=verdict),))).values()
    assert bool(case.result) == verdict.convicts
    assert bool(case.system_out) != verdict.convicts


def test_a_note_fails_nothing():
    (case,) = cases(Report((replace(examples.LARGE_RATE, severity=Severity.NOTE),))).values()
    assert case.is_passed


def test_what_works_passes_and_what_could_not_be_checked_is_skipped():
    found = cases(examples.AUDIT)
    passed = found["modellint", "parameters that receive a gradient"]
    assert passed.is_passed
    assert passed.system_out == "6 of 6"
    (skipped,) = found["modellint", "rank-divergence"].result
    assert isinstance(skipped, Skipped)
    assert skipped.message == "needs more than one process"


def test_a_rule_that_was_asked_and_found_nothing_passes():
    rules = (Silent(), Unasked())
    assert list(cases(Report(), rules)) == [("modellint", "silent")]
    assert list(cases(Report(run=examples.RUN), rules)) == [("modellint", "silent"), ("modellint", "unasked")]
    assert ("modellint", "silent") not in cases(Report((replace(examples.LARGE_RATE, rule="silent"),)), rules)
    assert ("modellint", "silent") not in cases(Report((replace(examples.LARGE_RATE, twins=("silent",)),)), rules)


def test_a_probe_that_broke_is_an_error():
    (error,) = cases(examples.BROKEN)["modellint", "probe"].result
    assert isinstance(error, Error)
    assert "ValueError" in error.message
    assert error.text.startswith("train.py:19:16\nTraceback")


def test_characters_that_xml_forbids_are_replaced():
    odd = replace(examples.LARGE_RATE, message="a \x00 \ufffe \ud800 <b> & ]]>", location=Location("a\x01.py", 1))
    (case,) = cases(Report((odd,))).values()
    assert "<b> & ]]>" in case.result[0].message
