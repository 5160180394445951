"""Old code: findings that are known already, or that comments are to silence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from modellint.core.diagnostic import Report
from modellint.core.errors import UsageError
from modellint.report.numbers import count


def remaining(report: Report, options: dict[str, Any]) -> Report:
    """What counts beside the baseline; the command ends here when a baseline or comments are to be written."""
    path: Path | None = options["baseline"]
    if options["write_baseline"]:
        _write_baseline(report, path)
    if path is not None:
        report = _new(report, path)
    if options["add_ignores"]:
        _add_ignores(report)
    return report


def _write_baseline(report: Report, path: Path | None) -> None:
    from modellint import baseline

    if path is None:
        raise UsageError("--write-baseline needs --baseline FILE")
    try:
        path.write_text(baseline.text(report), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: the baseline cannot be written: {error.strerror}") from error
    _say(f"{path} knows {count(len(report.diagnostics), 'finding')}")


def _new(report: Report, path: Path) -> Report:
    from modellint import baseline

    known = baseline.read(path)
    found = baseline.new(report, known)
    left_out = len(report.diagnostics) - len(found.diagnostics)
    gone = known.prints.total() - left_out
    hint = f"; {gone} no longer found: --write-baseline forgets them" if gone else ""
    click.echo(f"modellint: {count(left_out, 'finding')} of {path} left out{hint}", err=True)
    return found


def _add_ignores(report: Report) -> None:
    from modellint import patch, silence

    edited = silence.silenced(report.diagnostics)
    free = {path: data for path, data in edited.items() if patch.writable(path)}
    patch.write(free)
    for path in sorted(edited.keys() - free.keys()):
        click.echo(f"modellint: {path} gets no comment: the file is read-only", err=True)
    by_hand = sum(finding.location.in_notebook for finding in report.diagnostics)
    if by_hand:
        told = f"{count(by_hand, 'finding')} must be silenced by hand: notebooks are not changed"
        click.echo(f"modellint: {told}", err=True)
    _say(f"comments written in {count(len(free), 'file')}")


def _say(message: str) -> None:
    click.echo(f"modellint: {message}", err=True)
    sys.exit(0)
