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


def find(paths: Iterable[Path], nearest: Nearest, *, force: bool = False) -> list[Path]:
    """The files in `paths`, each once: those in folders unless the settings or git leave them out, with `force` all so.

    Raises UsageError for a path that does not exist, or is a pipe or a device.
    """
    found = dict.fromkeys(file for path in paths for file in _below(path, nearest))
    return [file for file in found if not (force and _is_left_out(file, nearest))]


def _is_left_out(file: Path, nearest: Nearest) -> bool:
    return Excluded(nearest.of(file.absolute().parent).root, nearest).file(str(file))


def _below(path: Path, nearest: Nearest) -> Iterator[Path]:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if not path.is_dir():
        if not path.is_file():  # a pipe that nobody writes to has no end
            raise UsageError(f"{path}: neither a file nor a folder; to read from a pipe, give `-`")
        yield path
        return
    excluded, denied = Excluded(path, nearest), list[OSError]()
    for folder, names, files in os.walk(path, onerror=denied.append):
        kept = (name for name in sorted(names) if not _skipped(folder, name))
        names[:] = [name for name in kept if not excluded.folder(os.path.join(folder, name))]
        inside = (os.path.join(folder, name) for name in sorted(files) if name.endswith(SUFFIXES))
        # Neither pipes, which have no end, nor links to nowhere, by which editors lock a file.
        yield from (Path(file) for file in inside if os.path.isfile(file) and not excluded.file(file))
    yield from (Path(error.filename) for error in denied)  # a folder that cannot be read is reported as such a file is


def _skipped(folder: str, name: str) -> bool:
    return name in SKIPPED or name.startswith(".") or os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
