"""The layer of an overlay that took the writes, as changes to what lies below it."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

OPAQUE = "user.overlay.opaque"
BYWORK = "__pycache__"

Change = tuple[str, str]  # a path and "created", "changed" or "deleted"


def changes(upper: Path, below: Path) -> Iterator[Change]:
    """What the files of `upper` do to those of the folder `below`."""
    for entry in sorted(os.scandir(upper), key=lambda entry: entry.name):
        old, new = below / entry.name, Path(entry.path)
        if entry.name == BYWORK:
            continue
        if _is_whiteout(entry):
            yield str(old), "deleted"
        elif not entry.is_dir(follow_symlinks=False):
            if not os.path.lexists(old):
                yield str(old), "created"
            elif not _are_equal(new, old):
                yield str(old), "changed"
        else:
            yield from changes(new, old)
            if old.is_dir() and _is_opaque(new):
                lost = (child for child in sorted(old.iterdir()) if not os.path.lexists(new / child.name))
                yield from ((str(child), "deleted") for child in lost)


def _is_whiteout(entry: os.DirEntry[str]) -> bool:
    state = entry.stat(follow_symlinks=False)
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == 0


def _is_opaque(folder: Path) -> bool:
    """A folder that was deleted and made anew."""
    try:
        return os.getxattr(folder, OPAQUE) == b"y"
    except OSError:
        return False


def _are_equal(new: Path, old: Path) -> bool:
    """A file that was only opened for writing, or whose times were set, has the same contents."""
    return new.is_file() and old.is_file() and not new.is_symlink() and filecmp.cmp(new, old, shallow=False)
