"""Edited files: shown as a unified diff, or written in the place of the old ones."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .core.errors import UsageError

if TYPE_CHECKING:
    from .source.fix import Text


def diff(edited: Mapping[str, bytes], given: Mapping[str, bytes]) -> Iterator[bytes]:
    """A unified diff of each file against what was given or is on the disk, in the file's own encoding."""
    from .source.fix import Text

    for path in sorted(edited):
        before = given[path] if path in given else Path(path).read_bytes()
        old, new = Text.of(before), Text.of(edited[path])
        for line in difflib.unified_diff(_lines(old), _lines(new), path, path):
            ending = "" if line.endswith("\n") else "\n\\ No newline at end of file\n"
            yield (line + ending).encode(new.encoding.removesuffix("-sig"))


def _lines(text: Text) -> list[str]:
    lines = text.content.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def write(edited: Mapping[str, bytes]) -> None:
    """Each file at once or not at all, with its mode and owner; a link stays one. Raises UsageError where that fails."""
    for path, data in edited.items():
        try:
            _replace(os.path.realpath(path), data)
        except OSError as error:
            raise UsageError(f"{path}: the file cannot be written: {error.strerror}") from error


def writable(path: str) -> bool:
    """Whether its owner lets the file be changed: to put another one in its place takes no more than its folder."""
    return os.access(path, os.W_OK)


def _replace(path: str, data: bytes) -> None:
    handle, draft = tempfile.mkstemp(prefix=".modellint-", dir=os.path.dirname(path))
    try:
        with open(handle, "wb") as file:
            file.write(data)
        shutil.copymode(path, draft)
        _give(draft, os.stat(path))
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def _give(path: str, like: os.stat_result) -> None:
    """To the owner of another file, as far as that is allowed: root mends the files of others in a container."""
    if hasattr(os, "chown") and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(OSError):
            os.chown(path, like.st_uid, like.st_gid)
