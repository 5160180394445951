"""`modellint report`: a recorded run, judged again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modellint import pipeline
from modellint.cli.output import finish
from modellint.cli.reporting import reporting, settings


@click.command("report", short_help="Judge a recorded run again.")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@reporting
def command(run: Path, **options: Any) -> None:
    """Judge a recorded run again: RUN is its folder, its run.json, or a folder that holds those of all its nodes."""
    from modellint.measure import nodes

    chosen = settings(options)
    recorded = nodes.load(run)
    finish(pipeline.judge(recorded, chosen), options, chosen, run=recorded)
