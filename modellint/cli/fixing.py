"""The options that mend files: `--fix`, `--unsafe-fixes`, `--diff`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modellint import pipeline
from modellint.core.config import Settings
from modellint.core.diagnostic import Report
from modellint.core.errors import UsageError

if TYPE_CHECKING:
    from modellint.repair import Repair

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option("--fix", is_flag=True, help="Mend what can be mended safely, and report what remains."),
    click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: also fixes that need a look."),
    click.option(
        "--diff", is_flag=True, help="Show what --fix would change, and write nothing; exit 1 if there is a diff."
    ),
)


def fixing(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def check(paths: Sequence[Path], chosen: Settings, options: dict[str, Any]) -> Report:
    """What reading finds, after the fixes that are asked for; with `--diff` the command ends here."""
    if not (options["fix"] or options["diff"]):
        if options["unsafe_fixes"]:
            raise UsageError("--unsafe-fixes goes with --fix or --diff")
        return pipeline.check(paths, chosen)
    from modellint import patch
    from modellint.repair import repair

    mended = repair(paths, chosen, unsafe=options["unsafe_fixes"])
    if options["diff"]:
        click.echo(b"".join(patch.diff(mended.edited)), nl=False)
    else:
        patch.write(mended.edited)
    for line in _told(mended, "would be fixed" if options["diff"] else "fixed"):
        click.echo(line, err=True)
    if options["diff"]:
        sys.exit(1 if mended.edited and not options["exit_zero"] else 0)
    return mended.report


def _told(mended: Repair, done: str) -> Iterator[str]:
    for left in mended.left:
        yield f"modellint: {left.finding.location} {left.finding.rule} is not fixed: {left.reason}"
    where = f" in {_count(len(mended.edited), 'file')}" if mended.edited else ""
    more = f", {mended.unsafe} more with --unsafe-fixes" if mended.unsafe else ""
    yield f"modellint: {_count(mended.solved, 'finding')} {done}{where}{more}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
