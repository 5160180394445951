"""Files that probes created: a later probe may overwrite them as long as nobody has touched them since."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

LIST = "created.txt"  # one path a line, written by the recorder in every process of the run
MEMORY = "created.json"


class Written:
    """The files of one run in `folder`; `memory` is kept next to all runs of a project."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self._list, self._memory = folder / LIST, memory / MEMORY
        self._known = {path: mark for path, mark in self._remembered() if mark == _mark(path)}

    def allow(self) -> None:
        """Tells the recorder of the files that former probes created."""
        self._list.write_text("".join(f"{path}\n" for path in self._known), encoding="utf-8", errors="surrogateescape")

    def files(self) -> list[str]:
        """The files that exist now and that this run made or made anew."""
        return [path for path in self._listed() if os.path.isfile(path) and self._known.get(path) != _mark(path)]

    def remember(self) -> None:
        marks = {path: _mark(path) for path in self._listed() if os.path.exists(path)}
        self._memory.write_text(json.dumps(marks), encoding="utf-8")

    def _listed(self) -> Iterable[str]:
        return dict.fromkeys(self._list.read_text(encoding="utf-8", errors="surrogateescape").splitlines())

    def _remembered(self) -> Iterator[tuple[str, list[int]]]:
        try:
            yield from json.loads(self._memory.read_text(encoding="utf-8")).items()
        except (OSError, ValueError, AttributeError):
            return


def _mark(path: str) -> list[int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns, state.st_ino]
