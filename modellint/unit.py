"""The files to check, in units that are read together: one project, under the settings of one pyproject.toml."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .core.config import Settings
from .core.nearest import Nearest
from .core.record import dataclass
from .source import files

ROOTS = (".git", "pyproject.toml", "setup.py")
INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Unit:
    settings: Settings
    files: tuple[Path, ...]


def units(paths: Iterable[Path], nearest: Nearest, *, force: bool = False) -> list[Unit]:
    """Raises UsageError for a path that does not exist or a pyproject.toml that cannot be read."""
    settings: dict[Path, Settings] = {}
    together: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in files.find(paths, nearest, force=force):
        folder = os.path.dirname(os.path.abspath(path))
        found = nearest.of(Path(folder))
        settings[found.root] = found
        together[found.root, _root(folder)].append(path)
    return [Unit(settings[root], tuple(members)) for (root, _), members in together.items()] or [Unit(nearest.here, ())]


@cache
def _root(folder: str) -> str:
    """The folder of the project that a folder belongs to; of an installed package, its own."""
    above = os.path.dirname(folder)
    if os.path.basename(above) in INSTALLED or any(os.path.exists(os.path.join(folder, name)) for name in ROOTS):
        return folder
    return "" if above == folder else _root(above)
