"""Findings as SARIF results: what is wrong and where, its identity, and the findings that it hangs together with."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from modellint.core.diagnostic import Diagnostic, Report
from modellint.core.plain import to_plain
from modellint.report.fingerprint import fingerprints
from modellint.report.markup import prose
from modellint.report.message import statement
from modellint.report.plain_text import one_line
from modellint.report.tree import Finding, grow

from .places import Object, location, locations

PROPERTIES = ("verdict", "severity", "evidence", "causes", "explains", "twins", "fix", "remedy", "proof")
Relative = tuple[str, Diagnostic]


def results(report: Report, places: Mapping[str, int]) -> Iterator[Object]:
    """One for each finding, symptoms behind their cause; `places` says where the rule of a code is described."""
    findings = list(_with_relatives(grow(report.diagnostics)))
    prints = fingerprints([finding for finding, _ in findings])
    for (finding, relatives), identity in zip(findings, prints, strict=True):
        related = [relative for relative in relatives if location(relative[1].location, report.run)]
        yield {
            "ruleId": finding.code,
            "ruleIndex": places[finding.code],
            "level": str(finding.level),
            "message": _message(finding, related),
            **locations(finding.location, report.run),
            "relatedLocations": list(_related_locations(related, report.run)),
            "partialFingerprints": {"modellint/v1": identity},
            "properties": {name: to_plain(value) for name in PROPERTIES if (value := getattr(finding, name))},
        }


def _with_relatives(
    findings: Iterable[Finding], cause: Diagnostic | None = None
) -> Iterator[tuple[Diagnostic, list[Relative]]]:
    for found in findings:
        above = [("Symptom of", cause)] if cause else []
        yield found.diagnostic, above + [("Explains", symptom.diagnostic) for symptom in found.symptoms]
        yield from _with_relatives(found.symptoms, found.diagnostic)


def _message(finding: Diagnostic, related: Sequence[Relative]) -> Object:
    """A link names a related location by its number; in plain text any other `[x](y)` would be taken for a link too."""
    said, fix = f"{statement(finding)}.", f"Fix: {one_line(finding.fix)}" if finding.fix else ""
    links = " ".join(_links(related))
    plain = (said.replace("](", "] ("), links, fix.replace("](", "] ("))
    marked = (prose(said), links, prose(fix))
    return {"text": " ".join(filter(None, plain)), "markdown": " ".join(filter(None, marked))}


def _links(related: Sequence[Relative]) -> Iterator[str]:
    numbered = enumerate(related, start=1)
    for word, group in itertools.groupby(numbered, key=lambda entry: entry[1][0]):
        yield f"{word} {', '.join(f'[{other.rule}]({number})' for number, (_, other) in group)}."


def _related_locations(related: Sequence[Relative], run: Mapping[str, Any] | None) -> Iterator[Object]:
    for number, (_, other) in enumerate(related, start=1):
        text = f"{other.rule}: {statement(other)}"
        yield {"id": number, **location(other.location, run), "message": {"text": text.replace("](", "] (")}}
