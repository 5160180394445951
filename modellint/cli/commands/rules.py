"""`modellint rules`: all of them, a line each."""

from __future__ import annotations

from pathlib import Path

import click

from modellint import pipeline
from modellint.core import config


@click.command("rules", short_help="List all rules, a line each.")
def command() -> None:
    """List all rules, a line each."""
    everything = pipeline.known(config.load(Path()))
    width = max(len(rule.name) for rule in everything)
    for rule in everything:
        click.echo(f"{rule.code}  {rule.name:<{width}}  {rule.severity:<7}  {rule.summary()}")
