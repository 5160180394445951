"""`modellint check PATH ...` as it is mostly called: to load what reads options takes longer than to read a file."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from modellint import survey
from modellint.core.diagnostic import Report, Severity
from modellint.core.nearest import Nearest
from modellint.report import render
from modellint.unit import Unit, units

INTERRUPTED = 130  # 128 and the number of the signal


def check(arguments: Sequence[str]) -> None:
    """Ends the process if no option is given but --no-cache; else does nothing."""
    paths = [argument for argument in arguments[1:] if argument != "--no-cache"]
    if arguments[:1] != ["check"] or not paths or any(path.startswith("-") for path in paths):
        return
    gc.disable()  # what is read holds no cycles, and to look for some takes longer the more there is
    try:
        found = units(map(Path, paths), Nearest())
        note_empty(found)
        report = survey.check(found, cached="--no-cache" not in arguments)
        _write(report)
    except KeyboardInterrupt:
        interrupted()
    os._exit(1 if report.at_least(Severity.WARNING) else 0)  # to free all that was read takes as long as to parse it


def note_empty(found: Iterable[Unit]) -> None:
    if not any(unit.files for unit in found):
        print("modellint: there is no Python file or notebook to read", file=sys.stderr)


def interrupted() -> NoReturn:
    """As a shell tells it, apart from findings and from usage."""
    print("Aborted!", file=sys.stderr)
    sys.exit(INTERRUPTED)


def _write(report: Report) -> None:
    if sys.stdout is None:  # closed by the caller
        return
    try:
        sys.stdout.buffer.write(render(report, color=None).encode())
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
