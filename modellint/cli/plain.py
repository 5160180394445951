"""`modellint check PATH ...` as it is mostly called: to load what reads options takes longer than to read a file."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from modellint import survey
from modellint.core.diagnostic import Report, Severity
from modellint.core.nearest import Nearest
from modellint.report import render
from modellint.unit import units


def check(arguments: Sequence[str]) -> None:
    """Ends the process if no option is given but --no-cache; else does nothing."""
    paths = [argument for argument in arguments[1:] if argument != "--no-cache"]
    if arguments[:1] != ["check"] or not paths or any(path.startswith("-") for path in paths):
        return
    gc.disable()  # what is read holds no cycles, and to look for some takes longer the more there is
    try:
        report = survey.check(units(map(Path, paths), Nearest()), cached="--no-cache" not in arguments)
        _write(report)
    except KeyboardInterrupt:
        sys.exit("Aborted!")
    os._exit(1 if report.at_least(Severity.WARNING) else 0)  # to free all that was read takes as long as to parse it


def _write(report: Report) -> None:
    try:
        sys.stdout.buffer.write(render(report, color=None).encode())
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
