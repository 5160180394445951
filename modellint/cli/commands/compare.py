"""`modellint compare`: two recorded runs side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modellint.cli import kept
from modellint.cli.table import table
from modellint.core import config

if TYPE_CHECKING:
    from modellint.proof.comparison import Comparison


@click.command("compare", short_help="Compare two recorded runs at equal steps.")
@click.argument("first")
@click.argument("second")
@click.option(
    "--fail-on",
    type=click.Choice(["worse", "never"]),
    default="never",
    show_default=True,
    help="Exit 1 if it is worse.",
)
def command(first: str, second: str, fail_on: str) -> None:
    """Compare two recorded runs at equal steps: before and after a change, or of two branches.

    FIRST and SECOND are folders of runs, their run.json, or the name under which `modellint baseline` keeps one.
    """
    from modellint import pipeline
    from modellint.proof.comparison import compare

    settings = config.load(Path())
    one, other = kept.load(first), kept.load(second)
    found = compare(one, pipeline.judge(one, settings), other, pipeline.judge(other, settings))
    click.echo(told(found, first, second))
    sys.exit(1 if fail_on == "worse" and found.verdict == "worse" else 0)


def told(found: Comparison, first: str, second: str) -> str:
    lines = table((f"at {found.steps} steps", first, second), found.rows)
    findings = (("gone", found.gone), ("new", found.new))
    named = (f"{label}: {', '.join(rules)}" for label, rules in findings if rules)
    return "\n".join((*lines, *named, f"{second} is {found.verdict}: {found.reason}"))
