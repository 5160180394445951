"""Which finding is folded under which."""

from __future__ import annotations

from modellint.core.diagnostic import Diagnostic, Severity, Verdict
from modellint.report.tree import Finding, grow


def finding(rule: str, *causes: str, verdict: Verdict = Verdict.CONFIRMED) -> Diagnostic:
    return Diagnostic(rule, "ML100", Severity.ERROR, rule, verdict=verdict, causes=causes)


def shape(findings: tuple[Finding, ...]) -> dict[str, object]:
    return {found.diagnostic.rule: shape(found.symptoms) for found in findings}


def test_a_finding_without_a_cause_stands_alone():
    assert shape(grow([finding("a"), finding("b")])) == {"a": {}, "b": {}}


def test_a_cause_that_is_not_in_the_report_folds_nothing():
    assert shape(grow([finding("a", "gone")])) == {"a": {}}


def test_the_first_cause_that_is_there_takes_the_symptom():
    assert shape(grow([finding("a"), finding("b"), finding("s", "gone", "b", "a")])) == {"a": {}, "b": {"s": {}}}


def test_chains_fold_transitively_in_any_order():
    expected = {"a": {"b": {"c": {}}}}
    chain = [finding("a"), finding("b", "a"), finding("c", "b")]
    assert shape(grow(chain)) == expected
    assert shape(grow(chain[::-1])) == expected


def test_a_circle_loses_nothing_and_begins_at_its_first_member():
    assert shape(grow([finding("a", "c"), finding("b", "a"), finding("c", "b")])) == {"a": {"b": {"c": {}}}}
    assert shape(grow([finding("a", "a")])) == {"a": {}}


def test_several_symptoms_of_a_rule_all_fold():
    (found,) = grow([finding("a"), finding("s", "a"), finding("s", "a")])
    assert [symptom.diagnostic.rule for symptom in found.symptoms] == ["s", "s"]


def test_a_suspicion_explains_no_measured_finding():
    suspicion = finding("a", verdict=Verdict.SUSPECTED)
    assert shape(grow([suspicion, finding("s", "a")])) == {"a": {}, "s": {}}
    assert shape(grow([suspicion, finding("s", "a", verdict=Verdict.SUSPECTED)])) == {"a": {"s": {}}}


def test_what_a_cause_shares_with_another_is_named_once():
    first = Diagnostic("a", "ML1", Severity.ERROR, "", verdict=Verdict.CONFIRMED, explains=("s",))
    second = Diagnostic("b", "ML2", Severity.ERROR, "", verdict=Verdict.CONFIRMED, explains=("s", "gone"))
    found = grow([first, second, finding("s", "a", "b")])
    assert [cause.shared for cause in found] == [(), ("s",)]
