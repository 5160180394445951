"""`modellint check`: read, execute nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modellint import pipeline
from modellint.cli import fixing
from modellint.cli.launching import launch_options, launching
from modellint.cli.output import finish
from modellint.cli.reporting import reporting, settings
from modellint.core.config import Settings
from modellint.core.diagnostic import Report


@click.command("check")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--target", "targets", multiple=True, metavar="PKG.MODULE:FACTORY", help="Run one step of what it returns."
)
@fixing.fixing
@reporting
@launching
def command(paths: tuple[Path, ...], targets: tuple[str, ...], **options: Any) -> None:
    """Read training scripts and report what reading finds; nothing is executed unless --target asks for it."""
    chosen = settings(options)
    reports = [fixing.check(paths or (Path(),), chosen, options)] if paths or not targets else []
    reports += [_target(target, options, chosen) for target in targets or (() if paths else chosen.targets)]
    finish(pipeline.together(reports), options, chosen)


def _target(target: str, options: dict[str, Any], chosen: Settings) -> Report:
    from modellint.measure import launch

    return pipeline.judge(launch.target(target, launch_options(options)), chosen)
