"""Python frames to the user's own line: the innermost one outside torch, installed packages, the standard library and this recorder."""

from __future__ import annotations

import os
import sys
from itertools import islice
from types import FrameType
from typing import Any, Dict, Iterator, Optional, Tuple

START = os.getcwd()
_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGES = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
_STANDARD = (
    os.path.dirname(os.path.realpath(os.__file__)) + os.sep,
    os.path.dirname(os.path.realpath(sys.executable)) + os.sep,
)
_BIN = os.path.join(sys.prefix, "bin") + os.sep
_seen: Dict[str, Optional[str]] = {}


def user_path(filename: str) -> Optional[str]:
    """The path to show for `filename`, or None when it is not the user's: relative below the first current directory."""
    if filename not in _seen:
        _seen[filename] = _user_path(filename)
    return _seen[filename]


def user_line(frame: Optional[FrameType] = None) -> Optional[Tuple[str, int]]:
    """(path, line) of the innermost frame of the user at or above `frame` (default: the caller), or None."""
    for found in outwards(frame or sys._getframe(1)):
        path = user_path(found.f_code.co_filename)
        if path is not None:
            return path, found.f_lineno
    return None


def user_frame(frame: Optional[FrameType] = None) -> Optional[FrameType]:
    """The innermost frame of the user; where everything is installed code, the outermost frame that has a file."""
    outermost = None
    for found in outwards(frame or sys._getframe(1)):
        if user_path(found.f_code.co_filename) is not None:
            return found
        if not found.f_code.co_filename.startswith("<"):
            outermost = found
    return outermost


def outwards(frame: Optional[FrameType]) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def place(frame: Optional[FrameType] = None) -> Dict[str, Any]:
    """The location of the user's call, as the fields of a Location; columns where the interpreter keeps them (3.11)."""
    found = user_frame(frame or sys._getframe(1))
    if found is None:
        return {}
    code = found.f_code
    where: Dict[str, Any] = {"path": shown(code.co_filename), "line": found.f_lineno}
    if hasattr(code, "co_positions") and found.f_lasti >= 0:
        first, last, column, end = next(islice(code.co_positions(), found.f_lasti // 2, None), (None,) * 4)
        if first is not None and column is not None:
            where.update(line=first, end_line=last, column=column + 1, end_column=end and end + 1)
    return where


def shown(filename: str) -> str:
    return user_path(filename) or absolute(filename)


def absolute(filename: str) -> str:
    """`filename` as the process meant it when it started: a script's code keeps the relative path of the command line."""
    return os.path.normpath(os.path.join(START, filename))


def _user_path(filename: str) -> Optional[str]:
    if filename.startswith("<"):
        return None
    path = absolute(filename)
    installed = any(part in path for part in _PACKAGES) or path.startswith(_BIN)
    if installed or path.startswith(_HERE + os.sep) or os.path.realpath(path).startswith(_STANDARD):
        return None
    below = os.path.relpath(path, START)
    return path if below.startswith("..") else below
