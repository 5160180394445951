"""For a person at a terminal: every finding with its source and its numbers, then what works, then the sum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from modellint.core.diagnostic import Passed, Problem, Report, Verdict
from modellint.core.proof import Proof
from modellint.report import finding, terminal, trials
from modellint.report.line import Line, prose
from modellint.report.numbers import count
from modellint.report.passed import outcome, reasons
from modellint.report.plain_text import cells, one_line, printable
from modellint.report.summary import discarded, facts, tally, watched
from modellint.report.tree import Finding, grow

TAIL = 12


def render(report: Report, *, color: bool | None = None, width: int | None = None, **_: Any) -> str:
    columns = width or terminal.columns()
    lines = _apart(_blocks(report, columns))
    return terminal.draw(lines, columns, color=terminal.wants_color() if color is None else color)


def _blocks(report: Report, width: int) -> Iterator[Iterable[Line]]:
    findings = grow(report.diagnostics)
    yield _opening(report)
    yield from (finding.lines(found, width) for found in findings if found.convicts)
    yield from (finding.lines(found, width) for found in findings if not found.convicts)
    yield _proof(report.proof) if report.proof else ()
    yield _what_works(report.passed, width)
    yield _not_checked(report)
    if report.problem:
        yield _problem(report.problem, width)
    yield _closing(report, findings)


def _apart(blocks: Iterable[Iterable[Line]]) -> Iterator[Line]:
    """The lines of all blocks with an empty line between two that are not empty."""
    started = False
    for lines in map(list, blocks):
        if lines and started:
            yield Line()
        started = started or bool(lines)
        yield from lines


def _opening(report: Report) -> Iterator[Line]:
    known = dict(facts(report.run))
    watching = [known[label] for label in ("model", "loss", "optimizer") if label in known]
    if watching:
        yield Line(prose("Watched " + "; ".join(watching), "faint"), hang=4)


def _proof(proof: Proof) -> Iterator[Line]:
    yield Line((("Proof by re-running", "strong"),))
    for label, effect, loss, norm, *_ in trials.rows(proof):
        bounded = f"; gradient norm up to {norm}" if norm else ""
        yield Line((*prose(label), (f": loss {loss}{bounded}" if loss else "", "")), ((f"  {effect:<12} ", "label"),))
    yield Line(prose(trials.conditions(proof), "faint"), hang=4)
    yield Line(prose(proof.summary, "strong"), hang=4)


def _what_works(passed: Sequence[Passed], width: int) -> Iterator[Line]:
    """The outcomes in a column that leaves room for the longest one; a longer label moves its own outcome only."""
    if not passed:
        return
    yield Line((("What works", "strong"),))
    labels = [cells(one_line(check.check)) for check in passed]
    room = min(width * 2 // 3, width - len("  ✓   ") - max(cells(outcome(check)) for check in passed))
    column = max((label for label in labels if label <= room), default=0)
    for check, label in zip(passed, labels, strict=True):
        padding = " " * (max(column - label, 0) + 2)
        yield Line((*prose(check.check), (padding + outcome(check), "")), lead=(("  ✓ ", "good"),))


def _not_checked(report: Report) -> Iterator[Line]:
    if report.unchecked:
        yield Line((("Not checked", "strong"),))
    for reason, checks in reasons(report):
        of = f": {', '.join(checks)}" if checks else ""
        yield Line((*prose(reason), (of, "")), lead=(("  · ", "faint"),))


def _problem(problem: Problem, width: int) -> Iterator[Line]:
    yield Line((("error: ", "error"), *prose(problem.message, "strong")), hang=4)
    yield from finding.arrow(problem.location)
    yield from finding.source(problem.location, width, "error")
    tail = printable(problem.detail).rstrip().expandtabs().splitlines()[-TAIL:]
    yield from finding.labelled("output", (Line(((text, "faint"),)) for text in tail))


def _closing(report: Report, findings: Sequence[Finding]) -> Iterator[Line]:
    worst = max((diagnostic.level for diagnostic in report.diagnostics), key=lambda level: level.rank, default="good")
    tone = "error" if report.problem else str(worst)
    yield Line(((tally(report, findings), tone), (f"; {watched(report.run)}" if report.run else "", "")), hang=4)
    yield from (Line(prose(hint, "faint"), hang=4) for hint in _hints(report, findings))


def _hints(report: Report, findings: Sequence[Finding]) -> Iterator[str]:
    if report.problem:
        yield "The probe did not come to its end: this is what was read and measured until then."
    if mended := _mended(report):
        yield mended
    suspected = next(
        (d for d in report.diagnostics if d.verdict is Verdict.SUSPECTED and (d.location.path or "").endswith(".py")),
        None,
    )
    if suspected and not report.run:
        yield f"`modellint probe {suspected.location.path}` runs a few steps and measures what is only suspected."
    if report.run and report.run.get("network"):
        yield f"The run turned to the network: {', '.join(report.run['network'])}."
    if report.run and report.run.get("invented"):
        yield f"The data were invented ({', '.join(report.run['invented'])}): nothing is said of them."
    if report.run and (lost := discarded(report.run)):
        yield f"The sandbox threw away what the run did to your files: {lost}."
    if findings:
        first = max(findings, key=lambda finding: finding.convicts).diagnostic.rule
        yield f"`modellint explain {first}` says why it hurts and where its thresholds come from."


def _mended(report: Report) -> str:
    """How many findings can be fixed: "`--fix` mends 2 of these, `--fix --unsafe-fixes` 3."."""
    options = [diagnostic.mended_by for diagnostic in report.diagnostics if diagnostic.mended_by]
    safe = options.count("--fix")
    counts = {"--fix": safe, "--fix --unsafe-fixes": len(options) if len(options) > safe else 0}
    told = [f"`{option}` mends {number}" for option, number in counts.items() if number]
    return f"{', '.join(told)} of {count(len(report.diagnostics), 'finding')}." if told else ""
