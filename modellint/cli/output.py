"""How a command ends: one report, on a standard stream or in a file, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from modellint import pipeline
from modellint.core.config import Settings
from modellint.core.diagnostic import Report, Severity
from modellint.core.rule import Rule
from modellint.report import render

from .showing import statistics

if TYPE_CHECKING:
    from modellint.measure.run import Run

NEVER = "never"


def fail(message: str) -> NoReturn:
    click.echo(f"modellint: {message}", err=True)
    sys.exit(2)


def finish(
    report: Report, options: dict[str, Any], settings: Settings, *, err: bool = False, run: Run | None = None
) -> NoReturn:
    show(report, options, settings, err=err, run=run)
    if report.problem is not None:
        fail(report.problem.message)
    failing = options["fail_on"] != NEVER and report.at_least(Severity(options["fail_on"]))
    sys.exit(1 if failing and not options["exit_zero"] else 0)


def show(
    report: Report, options: dict[str, Any], settings: Settings, *, err: bool = False, run: Run | None = None
) -> None:
    to_file: Path | None = options["output_file"]
    if options.get("statistics"):
        text = statistics(report, options["output_format"])
    else:
        color = False if to_file else None
        text = render(report, options["output_format"], color=color, rules=_asked(settings), run=run)
    if to_file:
        _write(to_file, text)
    else:
        click.echo(text.encode(), nl=False, err=err)


def _asked(settings: Settings) -> Iterator[Rule]:
    """Loaded only when a format describes the rules."""
    yield from pipeline.chosen(settings)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: the report cannot be written: {error.strerror}")
