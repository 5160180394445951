"""What is left out below a folder that the user names: by `exclude` of the nearest settings, and by .gitignore."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from modellint.core.config import Settings
from modellint.core.errors import UsageError
from modellint.core.nearest import Nearest

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

INVALID = (ValueError, re.error)  # for what is no pattern
Patterns = tuple[str, "GitIgnoreSpec"]  # and the folder that they are relative to


class Excluded:
    """Patterns that match the folder itself do not hold below it: it was asked for."""

    def __init__(self, top: Path, nearest: Nearest) -> None:
        self._nearest = nearest
        self._ignored: dict[str, tuple[Patterns, ...]] = {}
        asked = os.path.abspath(top)
        self._asked = {id(spec) for folder, spec in self._patterns(asked) if _verdict(folder, spec, f"{asked}/")}

    def file(self, path: str) -> bool:
        return self._matches(os.path.abspath(path))

    def folder(self, path: str) -> bool:
        return self._matches(os.path.abspath(path) + "/")

    def _matches(self, path: str) -> bool:
        """The nearest patterns that know the path decide."""
        patterns = self._patterns(os.path.dirname(path.rstrip("/")))
        verdicts = (_verdict(folder, spec, path) for folder, spec in patterns if id(spec) not in self._asked)
        return next((verdict for verdict in verdicts if verdict is not None), False)

    def _patterns(self, folder: str) -> Iterator[Patterns]:
        for settings in self._nearest.of(Path(folder)).lineage:
            if settings.exclude:
                yield str(settings.root), _set(settings)
        yield from self._git(folder)

    def _git(self, folder: str) -> tuple[Patterns, ...]:
        """The .gitignore files from a folder up to the top of its repository, and what only this clone leaves out."""
        if folder not in self._ignored:
            above = os.path.dirname(folder)
            topmost = above == folder or os.path.exists(os.path.join(folder, ".git"))
            beyond = _written(folder, ".git/info/exclude") if topmost else self._git(above)
            self._ignored[folder] = (*_written(folder, ".gitignore"), *beyond)
        return self._ignored[folder]


def _written(folder: str, name: str) -> Iterator[Patterns]:
    try:
        with open(os.path.join(folder, name), encoding="utf-8-sig", errors="replace") as file:
            lines = tuple(file.read().splitlines())
    except OSError:
        return
    try:
        yield folder, _spec(lines)
    except INVALID:  # git passes over a line that is no pattern
        yield folder, _spec(tuple(line for line in lines if _is_pattern(line)))


def _set(settings: Settings) -> GitIgnoreSpec:
    try:
        return _spec(settings.exclude)
    except INVALID as error:
        raise UsageError(f"{settings.root / 'pyproject.toml'}: [tool.modellint] exclude: {error}") from error


def _is_pattern(line: str) -> bool:
    try:
        return bool(_spec((line,)))
    except INVALID:
        return False


@cache
def _spec(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(patterns)


def _verdict(folder: str, spec: GitIgnoreSpec, path: str) -> bool | None:
    """Whether the patterns leave the path out, take it back in (False), or do not know it."""
    inside = path.removeprefix(folder.rstrip("/") + "/")
    return None if inside == path or not inside else spec.check_file(inside).include
