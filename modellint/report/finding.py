"""A finding as lines for a terminal: the place in the source, what was measured, what it explains, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modellint.core.diagnostic import Diagnostic, Evidence, Location, Verdict

from .excerpt import excerpt, whereabouts, within
from .line import Line, Spans, faint, prose
from .numbers import count
from .plain_text import cells
from .reading import figures
from .sparkline import sparkline
from .tree import Finding

RAIL = 5  # columns before the bar that numbers and labels hang on
LABEL = 12


def lines(finding: Finding, width: int) -> Iterator[Line]:
    """All of it in full tone for what is certain or confirmed; what is not is shorter, and faint."""
    drawn = _lines(finding, width)
    yield from drawn if finding.convicts else map(faint, drawn)


def _lines(finding: Finding, width: int) -> Iterator[Line]:
    diagnostic = finding.diagnostic
    yield header(diagnostic)
    yield from arrow(diagnostic.location)
    if diagnostic.verdict is not Verdict.NOT_OBSERVED:
        yield from source(diagnostic.location, width, str(diagnostic.level), before=int(finding.convicts))
    room = width - RAIL - LABEL
    yield from labelled("measured", (row for evidence in diagnostic.evidence for row in reading(evidence, room)))
    yield from explained(finding, width)
    option: Spans = ((diagnostic.mended_by, "faint"),) if diagnostic.mended_by else ()
    yield from labelled("fix", [Line(prose(diagnostic.fix), right=option)] if diagnostic.fix else ())
    yield from labelled("proven", [Line(prose(diagnostic.proof))] if diagnostic.proof else ())


def header(diagnostic: Diagnostic) -> Line:
    level = str(diagnostic.level)
    named = ((level, level), (f"[{diagnostic.code} {diagnostic.rule}] ", "strong"))
    return Line((*named, *prose(diagnostic.message, "strong")), right=((str(diagnostic.verdict), "strong"),), hang=4)


def arrow(location: Location) -> Iterator[Line]:
    if where := whereabouts(location):
        yield Line(((where, ""),), lead=((" " * (RAIL - 1) + "--> ", "rail"),))


def source(location: Location, width: int, level: str, before: int = 1) -> Iterator[Line]:
    """The lines at the location with the place marked, where the file still has them."""
    shown = within(excerpt(location, before), width - RAIL - 2)
    if shown:
        yield _source_row("", "")
    for line in shown:
        yield _source_row(str(line.number), line.text)
        if line.marked:
            start, end = (cells(line.text[:edge]) for edge in line.marked)
            yield _source_row("", " " * start + "^" * (end - start), level)


def _source_row(number: str, text: str, style: str = "") -> Line:
    return Line(((text, style),), lead=((f"{number:>{RAIL - 1}} | ", "rail"),), crop=True)


def labelled(label: str, rows: Iterable[Line]) -> Iterator[Line]:
    """`rows` hung on the rail, the first of them behind the label."""
    lead: Spans = ((" " * RAIL + "= ", "rail"), (f"{label}:".ljust(LABEL - 2), "label"))
    for row in rows:
        yield Line(row.text, lead=(*lead, *row.lead), right=row.right)
        lead = ((" " * (RAIL + LABEL), ""),)


def reading(evidence: Evidence, room: int) -> Iterator[Line]:
    chart, numbers = sparkline(evidence.series), figures(evidence)
    gap = "  " if chart else ": " if numbers else ""
    data: Spans = ((f"{chart}  " if chart else "", "chart"), (numbers, "strong"))
    return _beside(prose(evidence.claim), gap, data, room, inset="  ")


def _beside(left: Spans, gap: str, right: Spans, room: int, inset: str = "") -> Iterator[Line]:
    """Both in one line, or `right` below `left` where that would be too long."""
    whole = (*left, (gap, ""), *right)
    if cells("".join(text for text, _ in whole)) <= room:
        yield Line(whole)
    else:
        yield Line(left)
        yield Line(right, lead=((inset, ""),))


def explained(finding: Finding, width: int) -> Iterator[Line]:
    """The symptoms, each in its own words and numbers but without the rank of a finding of its own."""
    symptoms = list(finding.descendants())
    own = count(len(symptoms), "symptom") if symptoms else ""
    shared = f"{', '.join(finding.shared)} (shown under another cause)" if finding.shared else ""
    if parts := ", and ".join(filter(None, (own, shared))):
        yield from labelled("explains", [Line(((parts, ""),))])
    for depth, symptom in symptoms:
        indent = RAIL + 2 + 2 * depth
        mark: Spans = ((" " * indent + "- ", "rail"),)
        for line in _symptom(symptom, width - indent - 2):
            yield Line(line.text, lead=(*mark, *line.lead))
            mark = ((" " * (indent + 2), ""),)


def _symptom(symptom: Diagnostic, room: int) -> Iterator[Line]:
    named: Spans = ((symptom.rule, "strong"), (f" ({symptom.level}): ", "faint"), *prose(symptom.message))
    where = whereabouts(symptom.location)
    yield from _beside(named, "  ", ((where, "rail"),), room) if where else [Line(named)]
    for evidence in symptom.evidence:
        yield from reading(evidence, room)
