"""Which settings hold for which file: those of the pyproject.toml nearest to it."""

from __future__ import annotations

from pathlib import Path

from .config import Settings, inside, load


class Nearest:
    """`only`: these settings hold for all files. `changes` are what the command line says: they win over every file."""

    def __init__(self, only: Settings | None = None, **changes: tuple[str, ...]) -> None:
        self._changes = changes
        self._one_for_all = only is not None
        self.here = (only or load(Path())).but(**changes)
        self._folders: dict[Path, Settings] = {self.here.root: self.here}

    def of(self, folder: Path) -> Settings:
        """The settings for the files in a folder; those of the current directory where no pyproject.toml is above it.

        Raises UsageError for a pyproject.toml that cannot be read.
        """
        if folder not in self._folders:
            found = None if self._one_for_all else inside(folder)
            above = self.here if folder == folder.parent else self.of(folder.parent)
            self._folders[folder] = above if found is None else found.but(**self._changes)
        return self._folders[folder]
