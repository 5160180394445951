"""`modellint fix --proven`: the fix of what is proven to cure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from modellint import patch
from modellint.cli.launching import launch_options, launching
from modellint.cli.output import fail
from modellint.cli.proving import proven
from modellint.cli.reporting import settings
from modellint.cli.summing import after
from modellint.core.diagnostic import Report
from modellint.core.errors import UsageError


@click.command("fix", short_help="Mend a script by what a re-run has proven.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--proven", "only_proven", is_flag=True, help="Make the fixes of what a re-run has proven to cure.")
@click.option("--apply", is_flag=True, help="Edit the files; without it a diff is shown, and a copy is probed.")
@click.option("--budget", type=float, default=300.0, show_default=True, help="Seconds for the proof of each round.")
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Optimizer steps to watch.")
@click.option("--isolated", is_flag=True, help="Read no pyproject.toml.")
@launching
def command(command: tuple[str, ...], only_proven: bool, apply: bool, budget: float, **options: Any) -> None:
    """Probe a command, prove which remedy cures, mend the script, and probe it again.

    COMMAND is as for `modellint probe`. `modellint check --fix` makes the fixes that are safe by reading alone.
    """
    from modellint.proof.mend import Mender

    if not only_proven:
        raise UsageError("`modellint fix` makes proven fixes only: give --proven, or use `modellint check --fix`")
    chosen = settings({"select": (), "ignore": (), "extend_select": (), **options})

    def prove(words: Sequence[str]) -> tuple[Report, Any]:
        return proven(words, launch_options(options), budget, chosen)

    mender = Mender(command, chosen, prove, apply=apply)
    originals: dict[str, bytes] = {}
    try:
        states = list(mender.states(originals))
    finally:
        mender.close()
    first, last = states[0], states[-1]
    if first.report.problem is not None:
        fail(first.report.problem.message)
    click.echo(b"".join(patch.diff(last.edited, originals)), nl=False)
    for line in after(first, last, applied=apply):
        click.echo(line)
    sys.exit(0 if last.is_clean else 1)
