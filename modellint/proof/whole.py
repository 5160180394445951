"""A probe's report to the same report with its proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from modellint.core.diagnostic import Report
from modellint.core.record import replace
from modellint.core.rule import Rule
from modellint.measure.launch import Options
from modellint.measure.run import Run

from . import schedule
from .conclude import conclude
from .prove import Prover

LONGEST = 50  # steps of a re-run


def prove(
    report: Report,
    run: Run,
    rules: Iterable[Rule],
    command: Sequence[str],
    options: Options,
    budget: float,
    tell: Callable[[schedule.Job, int, float], None],
) -> Report:
    """`report` itself where the probe fell short, or where no finding has a remedy."""
    if report.problem or not run.steps:
        return report
    steps = horizon(run)
    with schedule.Schedule(command, replace(options, steps=steps), budget, schedule.workers(run), tell) as plan:
        proof = Prover(report, run, {rule.name: rule for rule in rules}, plan, steps).prove()
    return report if proof is None else conclude(report, replace(proof, budget=budget))


def horizon(run: Run) -> int:
    """As many steps as cost no more than it took until the first one; at least those of the probe."""
    asked = run.requested_steps
    taken, start = run.seconds.get("steps", 0.0), run.seconds.get("start", 0.0)
    affordable = int(start * (len(run.steps) - 1) / taken) if taken > 0 else LONGEST
    return max(asked, min(LONGEST, affordable))
