"""A report and its run to the values that the page's template names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modellint.core.diagnostic import Problem, Report
from modellint.core.proof import Proof
from modellint.core.record import dataclass
from modellint.measure.run import Run
from modellint.report import trials
from modellint.report.excerpt import whereabouts
from modellint.report.passed import outcome, reasons
from modellint.report.plain_text import printable
from modellint.report.summary import facts, subject, tally, watched
from modellint.report.tree import grow

from .classes import Bars, histogram
from .curve import Curve, curve, curves
from .heatmap import Heatmap, gradients, updates
from .way import way

TAIL = 12  # lines of a failed script's output


@dataclass(frozen=True, slots=True)
class Charts:
    """What was measured of one optimizer; the classes stand with the first."""

    name: str
    curves: tuple[Curve, ...]
    heatmaps: tuple[Heatmap, ...]
    bars: Bars | None


def of(report: Report, run: Run | None) -> dict[str, Any]:
    findings = grow(report.diagnostics)
    worst = max((diagnostic.level for diagnostic in report.diagnostics), key=lambda level: level.rank, default="good")
    values = {
        "title": f"Training audit: {subject(report.run)}" if report.run else "Training audit",
        "tally": tally(report, findings),
        "tone": "error" if report.problem else str(worst),
        "watched": watched(report.run) if report.run else "",
        "problem": _problem(report.problem) if report.problem else None,
        "convicted": [finding for finding in findings if finding.convicts],
        "others": [finding for finding in findings if not finding.convicts],
        "proof": _proof(report.proof) if report.proof else None,
        "way": way(run, ((d.rule, d.location) for d in report.diagnostics if d.verdict.convicts)) if run else None,
        "charts": list(_charts(run)) if run else [],
        "passed": [(check.check, outcome(check)) for check in report.passed],
        "unchecked": list(reasons(report)),
        "facts": list(facts(report.run)),
    }
    return {**values, "contents": list(_contents(values))}


def _contents(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "findings", "Findings"
    sections = {
        "proof": ("proof", "Proof by re-running"),
        "charts": ("measurements", "Measurements"),
        "others": ("suspected", "Suspected or not observed"),
        "passed": ("works", "What works"),
        "unchecked": ("unchecked", "Not checked"),
        "facts": ("run", "The run"),
    }
    yield from (section for name, section in sections.items() if values[name])


def _problem(problem: Problem) -> dict[str, str]:
    tail = printable(problem.detail).rstrip().splitlines()[-TAIL:]
    return {"message": problem.message, "where": whereabouts(problem.location), "detail": "\n".join(tail)}


def _proof(proof: Proof) -> dict[str, Any]:
    """The table without the columns that are empty in all rows."""
    rows = list(trials.rows(proof))
    kept = [place for place in range(len(trials.TITLES)) if any(row[place] for row in rows)]
    losses = [(trial.label, trial.losses) for trial in (proof.found, *proof.trials) if len(trial.losses) > 1]
    return {
        "summary": proof.summary,
        "titles": [trials.TITLES[place] for place in kept],
        "rows": [[row[place] for place in kept] for row in rows],
        "conditions": trials.conditions(proof) if proof.seeds else "",
        "charts": [curve(f"Loss {label}", range(len(series)), series) for label, series in losses],
    }


def _charts(run: Run) -> Iterator[Charts]:
    stepped = [index for index in range(len(run.optimizers) or 1) if run.of(index)]
    for index in stepped:
        name = f"Optimizer {index + 1}: {run.optimizers[index].name}" if run.optimizers else "Training"
        maps = (*gradients(run, index), *updates(run, index))
        yield Charts(name, tuple(curves(run, index)), maps, histogram(run) if index == stepped[0] else None)
