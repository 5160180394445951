"""Paths that the user names to the Python files below them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from modellint.core.errors import UsageError

SKIPPED = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"})


def find(paths: Iterable[Path], exclude: Iterable[str] = (), root: Path | None = None) -> list[Path]:
    """The Python files in `paths`, each once: named files always, those in folders unless `exclude` matches them.

    `exclude` holds patterns as in .gitignore, relative to `root` (default: the current directory).
    Raises UsageError for a path that does not exist.
    """
    excluded = _matcher(tuple(exclude), (root or Path.cwd()).resolve())
    return list(dict.fromkeys(file for path in paths for file in _below(path, excluded)))


def _below(path: Path, excluded: Callable[[str], bool]) -> Iterator[Path]:
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if not path.is_dir():
        yield path
        return
    for folder, names, files in os.walk(path):
        names[:] = sorted(
            n for n in names if not _skipped(folder, n) and not excluded(os.path.join(folder, n) + os.sep)
        )
        inside = (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))
        yield from (Path(file) for file in inside if not excluded(file))


def _skipped(folder: str, name: str) -> bool:
    return name in SKIPPED or name.startswith(".") or os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


def _matcher(patterns: tuple[str, ...], root: Path) -> Callable[[str], bool]:
    if not patterns:
        return lambda _: False
    import pathspec

    spec = pathspec.PathSpec.from_lines("gitignore", patterns)
    return lambda path: spec.match_file(os.path.relpath(path, root) + (os.sep if path.endswith(os.sep) else ""))
