"""`modellint test`: rules against their own examples."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from modellint import pipeline, selftest
from modellint.core import config, registry


@click.command("test", short_help="Run rules against their own examples.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
def command(paths: tuple[Path, ...]) -> None:
    """Run the self-tests (`bad` and `good`) of the rule files in PATHS, or of all rules that are configured."""
    everything = registry.load(paths) if paths else pipeline.known(config.load(Path()))
    names = {path.stem for place in paths for path in (place.rglob("*.py") if place.is_dir() else [place])}
    mine = [rule for rule in everything if not paths or rule.name.replace("-", "_") in names]
    failures = [failure for rule in mine for failure in selftest.failures(rule)]
    for failure in failures:
        click.echo(failure)
    click.echo(f"{len(mine)} rules, {len(failures)} failures")
    sys.exit(1 if failures else 0)
