"""For test reports: a case for each rule and file, failed by what is convicted; what works as passed cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from modellint.core.diagnostic import Diagnostic, Report, Severity
from modellint.core.rule import Rule, SourceRule
from modellint.report.anchor import anchor
from modellint.report.excerpt import whereabouts
from modellint.report.message import details, shortfall, statement
from modellint.report.passed import outcome
from modellint.report.plain_text import one_line, printable

OWN = "modellint"  # the suite of what belongs to no file


def render(report: Report, *, rules: Iterable[Rule] = (), **_: Any) -> str:
    suites: dict[str, list[Element]] = {}
    for suite, case in (*_files(report), *((OWN, case) for case in _of_the_whole(report, rules))):
        suites.setdefault(suite, []).append(case)
    root = Element("testsuites", name="modellint")
    root.extend(_suite(name, cases) for name, cases in suites.items())
    _tally(root)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(name: str, cases: Iterable[Element]) -> Element:
    suite = Element("testsuite", name=name)
    suite.extend(cases)
    _tally(suite)
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    return suite


def _tally(suite: Element) -> None:
    for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        suite.set(attribute, str(sum(1 for _ in suite.iter(tag))))


def _files(report: Report) -> Iterator[tuple[str, Element]]:
    """The findings of a rule in a file are one case: its name stays the same while lines come and go."""
    groups: dict[tuple[str, str], list[Diagnostic]] = {}
    for finding in report.diagnostics:
        path = one_line(anchor(finding.location, report.run).path or OWN)
        groups.setdefault((path, finding.rule), []).append(finding)
    for (path, rule), findings in groups.items():
        yield path, _judged(_case(path.removesuffix(".py").replace("/", "."), rule), findings)


def _judged(case: Element, findings: Sequence[Diagnostic]) -> Element:
    failing = [finding for finding in findings if _fails(finding)]
    if failing:
        more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
        failure = SubElement(case, "failure", type=str(failing[0].level), message=statement(failing[0]) + more)
        failure.text = _text(failing)
    if others := [finding for finding in findings if not _fails(finding)]:
        SubElement(case, "system-out").text = _text(others)
    return case


def _fails(finding: Diagnostic) -> bool:
    """A note fails nothing, like the exit code."""
    return finding.verdict.convicts and finding.level is not Severity.NOTE


def _text(findings: Iterable[Diagnostic]) -> str:
    return "\n".join(line for finding in findings for line in _paragraph(finding))


def _paragraph(finding: Diagnostic) -> Iterator[str]:
    where = whereabouts(finding.location)
    yield one_line(f"{where}: {finding.level}[{finding.code}] {statement(finding)}".removeprefix(": "))
    yield from (f"  {line}" for line in details(finding))


def _of_the_whole(report: Report, rules: Iterable[Rule]) -> Iterator[Element]:
    """The probe, what works, what could not be checked, and the rules that found nothing."""
    if report.problem:
        case = _case(OWN, "probe")
        error = SubElement(case, "error", type="problem", message=shortfall(report.problem))
        error.text = printable("\n".join(filter(None, (whereabouts(report.problem.location), report.problem.detail))))
        yield case
    for check in report.passed:
        case = _case(check.rule or OWN, one_line(check.check))
        if text := one_line(outcome(check)):
            SubElement(case, "system-out").text = text
        yield case
    for missing in report.unchecked:
        case = _case(OWN, missing.rule or one_line(missing.check))
        SubElement(case, "skipped", message=one_line(missing.reason))
        yield case
    yield from (_case(OWN, name) for name in _silent(report, rules))


def _silent(report: Report, rules: Iterable[Rule]) -> Iterator[str]:
    """Without a run only source rules were asked."""
    spoken = {name for finding in report.diagnostics for name in (finding.rule, *finding.twins)}
    spoken |= {check.rule for check in report.passed} | {check.rule for check in report.unchecked}
    for rule in rules:
        if rule.name not in spoken and (report.run or isinstance(rule, SourceRule)):
            yield rule.name


def _case(classname: str, name: str) -> Element:
    return Element("testcase", classname=one_line(classname), name=one_line(name))
