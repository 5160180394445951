"""Rules as SARIF describes them: one descriptor for each rule that was asked or has spoken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modellint.core.diagnostic import Diagnostic, Severity
from modellint.core.rule import Rule, RuntimeRule
from modellint.report.documentation import layer, markdown, plain, reported
from modellint.report.plain_text import one_line

Descriptor = dict[str, Any]
PROBLEM = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "recommendation"}


def descriptors(rules: Iterable[Rule], findings: Iterable[Diagnostic]) -> list[Descriptor]:
    """`rules` in their order; after them what modellint itself reports, such as a file that it cannot read."""
    asked = list(rules)
    places = {rule.name: (rule.code, place) for place, rule in enumerate(asked)}
    described = {rule.code: _descriptor(rule, places) for rule in asked}
    for finding in findings:
        if finding.code not in described:
            described[finding.code] = _bare(finding)
    return list(described.values())


def _descriptor(rule: Rule, places: Mapping[str, tuple[str, int]]) -> Descriptor:
    links = [_relation(places[name], "canFollow") for name in rule.explains if name in places]
    links += [_relation(places[name], "relevant") for name in rule.twins if name in places]
    parts = {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary()},
        "fullDescription": {"text": " ".join(filter(None, (rule.summary(), rule.section("Why"))))},
        "help": {"text": plain(rule), "markdown": markdown(rule)},
        "helpUri": reported(rule),
        "defaultConfiguration": {"level": str(rule.severity)},
        "relationships": links,
        "properties": _properties(rule),
    }
    return {name: part for name, part in parts.items() if part}


def _relation(target: tuple[str, int], kind: str) -> Descriptor:
    code, place = target
    return {"target": {"id": code, "index": place}, "kinds": [kind]}


def _properties(rule: Rule) -> Descriptor:
    """`precision` and `problem.severity` are the names by which GitHub sorts alerts."""
    precision = "very-high" if rule.certain else "high" if isinstance(rule, RuntimeRule) else "medium"
    tags = [tag for tag in (layer(rule), rule.topic) if tag]
    return {"tags": tags, "precision": precision, "problem.severity": PROBLEM[rule.severity]}


def _bare(finding: Diagnostic) -> Descriptor:
    words = finding.rule.replace("-", " ")
    return {
        "id": finding.code,
        "name": finding.rule,
        "shortDescription": {"text": words[:1].upper() + words[1:]},
        "help": {"text": one_line(finding.help) or words},
        "defaultConfiguration": {"level": str(finding.severity)},
    }
