"""The options that mend files: `--fix`, `--unsafe-fixes`, `--diff`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modellint import pipeline
from modellint.core.diagnostic import Report
from modellint.core.errors import UsageError
from modellint.unit import Unit

from . import given
from .given import Given

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


def wanted(options: dict[str, Any]) -> bool:
    """Whether files are to be mended, or it is to be shown how."""
    if options["unsafe_fixes"] and not (options["fix"] or options["diff"]):
        raise UsageError("--unsafe-fixes goes with --fix or --diff")
    return bool(options["fix"] or options["diff"])


def mend(units: Sequence[Unit], options: dict[str, Any], source: Given = MappingProxyType({})) -> Report:
    """What remains after the fixes; with `--diff` the command ends here.

    `source` came from standard input: mended it goes to standard output.
    """
    from modellint import patch

    mended = _together(units, options, source)
    if options["diff"]:
        click.echo(b"".join(patch.diff(mended.edited, source)), nl=False)
    elif source:
        given.write({**source, **mended.edited})
    else:
        patch.write(mended.edited)
    for line in _told(mended, "would be fixed" if options["diff"] else "fixed"):
        click.echo(line, err=True)
    if options["diff"]:
        sys.exit(1 if mended.edited and not options["exit_zero"] else 0)
    return mended.report


def _together(units: Sequence[Unit], options: dict[str, Any], source: Given) -> Repair:
    from modellint import baseline
    from modellint.repair import Repair, repair

    known = baseline.read(options["baseline"]) if options["baseline"] and not options["write_baseline"] else None
    unsafe = options["unsafe_fixes"]
    shown = options["diff"]
    repairs = [
        repair(unit.files, unit.settings, unsafe=unsafe, given=source, known=known, shown=shown) for unit in units
    ]
    return Repair(
        report=pipeline.together([mended.report for mended in repairs]),
        edited={path: data for mended in repairs for path, data in mended.edited.items()},
        solved=sum(mended.solved for mended in repairs),
        left=tuple(left for mended in repairs for left in mended.left),
    )


def _told(mended: Repair, done: str) -> Iterator[str]:
    for left in mended.left:
        yield f"modellint: {left.finding.location} {left.finding.rule} is not fixed: {left.reason}"
    where = f" in {_count(len(mended.edited), 'file')}" if mended.edited else ""
    more = f", {mended.unsafe} more with --unsafe-fixes" if mended.unsafe else ""
    yield f"modellint: {_count(mended.solved, 'finding')} {done}{where}{more}"
    if mended.in_notebooks:
        yield f"modellint: {_count(mended.in_notebooks, 'fix', 'fixes')} must be made by hand: notebooks are not changed"


def _count(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"
