"""What was found before, in a folder of JSON files; one that cannot be read is as good as none."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST = 200  # entries; the oldest make way


class Cache:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Any:
        """The value under `key`; None if there is none or it is damaged."""
        try:
            return json.loads((self._folder / f"{key}.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    def put(self, key: str, value: Any) -> None:
        """A folder that cannot be written stays as it is."""
        with contextlib.suppress(OSError):
            self._prepare()
            overwrite(self._folder / f"{key}.json", json.dumps(value, separators=(",", ":")))
            for old in self._surplus():
                old.unlink(missing_ok=True)

    def _prepare(self) -> None:
        """Made on first use, and left out of git."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(self._folder.parent / ".gitignore", "x") as file:
            file.write("*\n")

    def _surplus(self) -> Iterator[Path]:
        entries = [Path(entry) for entry in os.scandir(self._folder)]
        if len(entries) > MOST:
            yield from sorted(entries, key=_age)[: len(entries) - MOST]


def overwrite(path: Path, text: str) -> None:
    """Others see the old text or the new one, never a part. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="ascii")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)  # of a disk that is full


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
