"""The options of `--prove`, and a line on the terminal of what is being tried and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modellint import pipeline
from modellint.cli.status import StatusLine, launched
from modellint.core.config import Settings
from modellint.core.diagnostic import Report
from modellint.core.record import replace

if TYPE_CHECKING:
    from modellint.measure.launch import Options
    from modellint.measure.run import Run
    from modellint.proof.schedule import Job

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option("--prove", is_flag=True, help="Run the command again with remedies, and say which one cures."),
    click.option("--budget", type=float, default=300.0, show_default=True, help="Seconds that --prove may take."),
)


def proving(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def proven(command: Sequence[str], options: Options, budget: float, settings: Settings) -> tuple[Report, Run]:
    """The report of a probe, and of what its remedies do within the budget."""
    from modellint.proof import whole
    from modellint.proof.schedule import environment

    seeded = replace(options, environment={**options.environment, **environment(0)})
    run = launched(command, seeded)
    report = pipeline.judge(run, settings)
    progress = Progress(budget)
    try:
        return whole.prove(report, run, pipeline.chosen(settings), command, options, budget, progress), run
    finally:
        progress.clear()


class Progress:
    """What is being tried, on one line."""

    def __init__(self, budget: float) -> None:
        self._budget, self._line = budget, StatusLine()

    def __call__(self, job: Job, number: int, seconds: float) -> None:
        why = f", for {job.why}" if job.why else ""
        self._line.draw(f"re-run {number}: {job.label}{why}, seed {job.seed} ({seconds:.0f} of {self._budget:.0f} s)")

    def clear(self) -> None:
        self._line.draw("")
