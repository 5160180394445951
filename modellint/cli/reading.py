"""What `check` reads: folders, files or standard input, mended on the way if that is asked for."""

from __future__ import annotations

import linecache
import os
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

from . import fixing
from .showing import files, settings

STDIN = Path("-")


def read(paths: Sequence[Path], nearest: Nearest, options: dict[str, Any]) -> Report:
    """The report; what is only asked to be shown is shown, and ends the command."""
    if STDIN in paths:
        return _standard_input(paths, nearest, options)
    found = units(paths or (Path(),), nearest)
    if options["show_files"] or options["show_settings"]:
        click.echo(files(found) if options["show_files"] else settings(found), nl=False)
        sys.exit(0)
    if fixing.wanted(options):
        return fixing.mend(found, options)
    return survey.check(found, cached=not options["no_cache"])


def _standard_input(paths: Sequence[Path], nearest: Nearest, options: dict[str, Any]) -> Report:
    if len(paths) > 1 or fixing.wanted(options) or options["add_ignores"]:
        raise UsageError("`-` goes with no other path, and standard input cannot be changed")
    name = options["stdin_filename"] or str(STDIN)
    data, place = sys.stdin.buffer.read(), os.path.abspath(name)
    text = data.decode("utf-8", "replace")
    linecache.cache[place] = len(data), None, text.splitlines(keepends=True), place  # what the report quotes
    unit = Unit(nearest.of(Path(place).parent), (Path(name),))
    return pipeline.check(unit.files, unit.settings, {os.path.relpath(place): data})
