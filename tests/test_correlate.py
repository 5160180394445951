from __future__ import annotations

from typing import Any

from modellint.core.diagnostic import Diagnostic, Evidence, Location, Severity, Verdict
from modellint.core.rule import Rule
from modellint.correlate import correlate
from modellint.measure.run import Run
from modellint.measure.step import Step

RUN = Run((Step(),))
HOLDS, ABSENT = Evidence("norm", 2.0, 1.0), Evidence("norm", 0.5, 1.0, holds=False)


def rule(name: str, code: str, evidence: Evidence | None = None, **attributes: Any) -> Rule:
    def confirm(self: Rule, run: Run, finding: Diagnostic) -> Evidence | None:
        return evidence

    kind = type(
        name, (Rule,), {"name": name, "code": code, "severity": Severity.ERROR, "confirm": confirm, **attributes}
    )
    return kind()


def by_name(*rules: Rule) -> dict[str, Rule]:
    return {r.name: r for r in rules}


def verdicts(found: tuple[Diagnostic, ...]) -> dict[str, Verdict]:
    return {d.rule: d.verdict for d in found}


def at(line: int = 1, module: str | None = None) -> Location:
    return Location("t.py", line, module=module)


def test_a_suspicion_is_confirmed_not_observed_or_left() -> None:
    rules = by_name(rule("a", "ML101", HOLDS), rule("b", "ML102", ABSENT), rule("c", "ML103", None))
    found = correlate([r.at(at(), "m") for r in rules.values()], RUN, rules)
    assert verdicts(found) == {"a": Verdict.CONFIRMED, "b": Verdict.NOT_OBSERVED, "c": Verdict.SUSPECTED}
    assert [(d.rule, d.level) for d in found] == [("a", Severity.ERROR), ("c", Severity.NOTE), ("b", Severity.NOTE)]
    assert {d.rule: d.evidence for d in found} == {"a": (HOLDS,), "b": (ABSENT,), "c": ()}


def test_what_is_certain_stays_certain_when_the_symptom_was_not_seen() -> None:
    rules = by_name(rule("a", "ML101", ABSENT, certain=True), rule("b", "ML102", HOLDS, certain=True))
    found = correlate([r.at(at(), "m") for r in rules.values()], RUN, rules)
    assert verdicts(found) == {"a": Verdict.CERTAIN, "b": Verdict.CONFIRMED}


def test_without_a_run_nothing_is_judged() -> None:
    rules = by_name(rule("a", "ML101", HOLDS))
    assert verdicts(correlate([rules["a"].at(at(), "m")], None, rules)) == {"a": Verdict.SUSPECTED}
    assert verdicts(correlate([rules["a"].at(at(), "m")], Run(), rules)) == {"a": Verdict.SUSPECTED}


def test_twins_are_one_diagnostic_with_the_evidence_of_both() -> None:
    rules = by_name(rule("read", "ML111", None, twins=("graphed",)), rule("graphed", "ML202", HOLDS))
    graphed = rules["graphed"].at(at(9, "head"), "saw it", certain=True)
    found = correlate([rules["read"].at(at(), "read it"), graphed], RUN, rules)
    assert [(d.rule, d.verdict, d.evidence, d.twins) for d in found] == [
        ("read", Verdict.CONFIRMED, (HOLDS,), ("graphed",))
    ]
    assert found[0].location == Location("t.py", 1, module="head")


def test_the_same_rule_twice_is_one_fault_only_at_the_same_place() -> None:
    rules = by_name(rule("a", "ML201"))
    a = rules["a"]
    found = correlate(
        [a.at(at(5), "read"), a.at(at(5, "head"), "graphed"), a.at(at(7, "other"), "graphed")], None, rules
    )
    assert [(d.location.line, d.location.module, d.message) for d in found] == [
        (5, "head", "graphed"),
        (7, "other", "graphed"),
    ]


def test_symptoms_fold_under_convicted_causes_one_link_at_a_time() -> None:
    rules = by_name(
        rule("cause", "ML101", HOLDS, explains=("middle", "absent")),
        rule("middle", "ML301", explains=("end",)),
        rule("end", "ML302"),
        rule("absent", "ML303"),
    )
    cause = rules["cause"].at(at(), "m")
    middle, end = (rules[name].at(at(), "m", measured=True) for name in ("middle", "end"))
    found = correlate([end, middle, cause], RUN, rules)
    assert {d.rule: (d.causes, d.explains) for d in found} == {
        "cause": ((), ("middle",)),
        "middle": (("cause",), ("end",)),
        "end": (("middle",), ()),
    }
    assert {d.rule: d.causes for d in correlate([end, cause], RUN, rules)} == {"cause": (), "end": ()}


def test_a_mere_suspicion_explains_nothing() -> None:
    rules = by_name(rule("cause", "ML101", ABSENT, explains=("end",)), rule("end", "ML302"))
    found = correlate([rules["cause"].at(at(), "m"), rules["end"].at(at(), "m", measured=True)], RUN, rules)
    assert [(d.rule, d.causes, d.explains) for d in found] == [("end", (), ()), ("cause", (), ())]


def test_worst_first_and_causes_before_symptoms() -> None:
    rules = by_name(
        rule("cause", "ML101", HOLDS, explains=("end",)),
        rule("end", "ML302"),
        rule("w", "ML303", severity=Severity.WARNING),
    )
    found = correlate([r.at(at(), "m", measured=True) for r in (rules["w"], rules["end"], rules["cause"])], RUN, rules)
    assert [d.rule for d in found] == ["cause", "end", "w"]


def test_twins_that_measured_the_same_leave_the_evidence_that_convicts() -> None:
    diverging = (0.5, float("nan"))
    spared = Evidence("norm", 0.5, 1e9, holds=False, series=diverging)
    shown = Evidence("norm", 0.5, 1e7, series=(0.5, float("nan")))
    rules = by_name(rule("read", "ML107", spared, twins=("measured",)), rule("measured", "ML308"))
    measured = rules["measured"].at(at(), "never binds", measured=True, evidence=[shown])
    found = correlate([rules["read"].at(at(), "read it"), measured], RUN, rules)
    assert [(d.verdict, d.evidence) for d in found] == [(Verdict.CONFIRMED, (shown,))]
