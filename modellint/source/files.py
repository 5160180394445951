"""Paths that the user names to the files below them that can be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from modellint.core.errors import UsageError
from modellint.core.nearest import Nearest

from .excluded import Excluded

SKIPPED = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"})
SUFFIXES = (".py", ".ipynb")


def find(paths: Iterable[Path], nearest: Nearest) -> list[Path]:
    """The files in `paths`, each once: named ones always, those in folders unless the settings or git leave them out.

    Raises UsageError for a path that does not exist.
    """
    return list(dict.fromkeys(file for path in paths for file in _below(path, nearest)))


def _below(path: Path, nearest: Nearest) -> Iterator[Path]:
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if not path.is_dir():
        yield path
        return
    excluded = Excluded(path, nearest)
    for folder, names, files in os.walk(path):
        kept = (name for name in sorted(names) if not _skipped(folder, name))
        names[:] = [name for name in kept if not excluded.folder(os.path.join(folder, name))]
        inside = (os.path.join(folder, name) for name in sorted(files) if name.endswith(SUFFIXES))
        # Neither pipes, which have no end, nor links to nowhere, by which editors lock a file.
        yield from (Path(file) for file in inside if os.path.isfile(file) and not excluded.file(file))


def _skipped(folder: str, name: str) -> bool:
    return name in SKIPPED or name.startswith(".") or os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
