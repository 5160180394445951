"""`modellint check`: read, execute nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from modellint import pipeline
from modellint.cli import adopting, output, reading, watching
from modellint.cli.checking import checking
from modellint.cli.fixing import fixing
from modellint.cli.given import STDIN
from modellint.cli.launching import launching
from modellint.cli.reporting import nearest, reporting
from modellint.core.config import Settings
from modellint.core.diagnostic import Report


@click.command("check", short_help="Read scripts and report faults; executes nothing.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--target", "targets", multiple=True, metavar="PKG.MODULE:FACTORY", help="Train for some steps what it returns."
)
@checking
@fixing
@reporting
@launching
def command(paths: tuple[Path, ...], targets: tuple[str, ...], **options: Any) -> None:
    """Read training scripts and report what reading finds; nothing is executed unless --target asks for it."""
    if options["stdin_filename"] and STDIN not in paths:
        paths = (*paths, STDIN)

    def again() -> None:
        output.show(_report(paths, targets, options), options, nearest(options).here)

    if options["watch"]:
        watching.forever(paths, again)
    mended_source = options["fix"] and STDIN in paths  # it has standard output for itself
    output.finish(_report(paths, targets, options), options, nearest(options).here, err=mended_source)


def _report(paths: tuple[Path, ...], targets: tuple[str, ...], options: dict[str, Any]) -> Report:
    return adopting.remaining(pipeline.together(list(_reports(paths, targets, options))), options)


def _reports(paths: tuple[Path, ...], targets: tuple[str, ...], options: dict[str, Any]) -> Iterator[Report]:
    found = nearest(options)
    if paths or not targets:
        yield reading.read(paths, found, options)
    yield from _trained(targets or (() if paths else found.here.targets), options, found.here)


def _trained(targets: Sequence[str], options: dict[str, Any], settings: Settings) -> Iterator[Report]:
    if targets:
        from modellint.cli.training import trained

        yield from (pipeline.judge(run, settings) for run in trained(targets, options))
