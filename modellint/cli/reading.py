"""What `check` reads: folders, files or standard input, mended on the way if that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from modellint import pipeline, survey
from modellint.core.diagnostic import Report
from modellint.core.errors import UsageError
from modellint.core.nearest import Nearest
from modellint.unit import Unit, units

from . import fixing, given
from .given import STDIN
from .plain import note_empty
from .showing import files, settings


def read(paths: Sequence[Path], nearest: Nearest, options: dict[str, Any]) -> Report:
    """The report; what is only asked to be shown is shown, and ends the command."""
    if STDIN in paths:
        return _standard_input(paths, nearest, options)
    found = units(paths or (Path(),), nearest, force=options["force_exclude"])
    note_empty(found)
    if options["show_files"] or options["show_settings"]:
        click.echo(files(found) if options["show_files"] else settings(found), nl=False)
        sys.exit(0)
    if fixing.wanted(options):
        return fixing.mend(found, options)
    return survey.check(found, cached=not options["no_cache"])


def _standard_input(paths: Sequence[Path], nearest: Nearest, options: dict[str, Any]) -> Report:
    if len(paths) > 1 or options["add_ignores"] or options["watch"]:
        raise UsageError("`-` goes with no other path, and with neither --add-ignores nor --watch")
    path = Path(options["stdin_filename"] or STDIN)
    unit = Unit(nearest.of(path.absolute().parent), (path,))
    source = given.read(str(path))
    if fixing.wanted(options):
        return fixing.mend([unit], options, source)
    return pipeline.check(unit.files, unit.settings, source)
