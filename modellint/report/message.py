"""A finding in words alone, for readers that show no source and no charts."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.diagnostic import Diagnostic, Problem

from .plain_text import one_line
from .reading import figures


def statement(finding: Diagnostic, *remarks: str) -> str:
    """ "the gradient explodes in readout (confirmed; gradient norm: 103,109, above 100)", with `remarks` behind it."""
    known = "; ".join(filter(None, (finding.verdict, key_number(finding), *remarks)))
    return one_line(f"{said(finding)} ({known})")


def said(finding: Diagnostic) -> str:
    """ "the gradient explodes in readout", "steps twice in cell 4, line 2": CI systems know no cells."""
    place = finding.location
    line = f", line {place.line}" if place.in_notebook and place.line else ""
    return one_line(f"{finding.message} in {place.module}{line}" if place.module else finding.message)


def shortfall(problem: Problem) -> str:
    """ "the probe did not come to its end: the script raised ValueError"."""
    return one_line(f"the probe did not come to its end: {problem.message}").removesuffix(":")


def key_number(finding: Diagnostic) -> str:
    """The first measurement that speaks for the verdict."""
    key = next((e for e in finding.evidence if e.holds == finding.verdict.convicts), None)
    numbers = figures(key) if key else ""
    return f"{key.claim}: {numbers}" if key and numbers else ""


def details(finding: Diagnostic) -> Iterator[str]:
    """What was measured, how it hangs together with other findings, and what to do, a line each."""
    parts = (
        *(("measured", f"{e.claim}: {figures(e)}" if figures(e) else e.claim) for e in finding.evidence),
        ("symptom of", ", ".join(finding.causes)),
        ("explains", ", ".join(finding.explains)),
        ("fix", finding.fix),
        ("proven", finding.proof),
    )
    yield from (one_line(f"{label}: {text}") for label, text in parts if text)
