"""`--watch`: again, whenever a file changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import click

from modellint.core.errors import UsageError
from modellint.source.files import SUFFIXES


def forever(paths: Sequence[Path], again: Callable[[], None]) -> NoReturn:
    """Ends with the user's interrupt. Raises UsageError where watchfiles is not installed or there is nothing to watch."""
    try:
        from watchfiles import watch
    except ImportError as error:
        raise UsageError("--watch needs the package watchfiles: pip install 'modellint[watch]'") from error
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise UsageError(f"{missing}: no such file or folder to watch")
    _round(again)
    for _ in watch(*(paths or (Path(),)), watch_filter=_matters, raise_interrupt=False):
        click.clear()
        _round(again)
    raise SystemExit(0)


def _matters(_: object, path: str) -> bool:
    return path.endswith((*SUFFIXES, "pyproject.toml", ".gitignore")) and ".modellint_cache" not in Path(path).parts


def _round(again: Callable[[], None]) -> None:
    """What ends a command does not end watching: the file may be whole again in a second."""
    try:
        again()
    except UsageError as error:
        click.echo(f"modellint: {error}", err=True)
    click.echo("modellint: waiting for changes (Ctrl+C ends)", err=True)
