"""Source from standard input: what a report quotes in the place of the file that it is taken for."""

from __future__ import annotations

import io
import linecache
import os
import sys
import tokenize
from collections.abc import Mapping
from pathlib import Path

import click

from modellint.core.errors import UsageError

STDIN = Path("-")
Given = Mapping[str, bytes]  # by the path that is shown


def read(name: str) -> Given:
    """Raises UsageError for a notebook, whose places would be sought in the file."""
    from modellint.source.notebook import SUFFIX
    from modellint.source.parse import shown_path

    if name.endswith(SUFFIX):
        raise UsageError("a notebook cannot be read from standard input")
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    given = {shown_path(Path(name)): sys.stdin.buffer.read()}
    quote(given)
    return given


def write(given: Given) -> None:
    """Mended source to standard output."""
    click.echo(b"".join(given.values()), nl=False)
    quote(given)


def quote(given: Given) -> None:
    for path, data in given.items():
        lines = list(io.StringIO(data.decode(_encoding(data), "replace"), newline=None))
        linecache.cache[os.path.abspath(path)] = len(data), None, lines, path


def _encoding(data: bytes) -> str:
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:
        return "utf-8"
