"""`modellint explain`: what is known about a rule."""

from __future__ import annotations

from pathlib import Path

import click

from modellint import pipeline
from modellint.core import config, registry
from modellint.core.explain import explain
from modellint.core.own import OWN


@click.command("explain", short_help="Explain a rule, with examples and thresholds.")
@click.argument("rule")
def command(rule: str) -> None:
    """Explain a rule: why it hurts, what to do, examples, thresholds and where they come from."""
    click.echo(explain(registry.find(rule, (*pipeline.known(config.load(Path())), *OWN))))
