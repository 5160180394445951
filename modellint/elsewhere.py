"""Findings in files that were only followed, not named: what is excluded stays unmentioned, and comments there hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from .core.config import Settings
from .core.diagnostic import Diagnostic
from .core.nearest import Nearest
from .core.suppress import Ignore, ignores


def heeded(found: Iterable[Diagnostic], named: Collection[str], settings: Settings) -> Iterator[Diagnostic]:
    """The findings in the named files, and those elsewhere that nothing there silences."""
    marks: dict[str, list[Ignore]] = {}
    for finding in found:
        path = finding.location.path
        if path is None or path in named:
            yield finding
        elif not _excluded(path, settings):
            if path not in marks:
                marks[path] = list(_marks(path))
            if not any(mark.silences(finding) for mark in marks[path]):
                yield finding


def _excluded(path: str, settings: Settings) -> bool:
    from .source.excluded import Excluded

    return Excluded(settings.root, Nearest(settings)).file(path)


def _marks(path: str) -> Iterator[Ignore]:
    from .source.parse import text

    try:
        yield from ignores(path, text(Path(path).read_bytes()))
    except (OSError, SyntaxError):
        return
