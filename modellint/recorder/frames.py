"""Python frames to the user's own line: the innermost outside installed packages, standard library and modellint."""

from __future__ import annotations

import os
import sys
from itertools import islice

TYPE_CHECKING = False  # importing typing would cost more than this module: it is loaded by every process of a run
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, Dict, Iterator, List, Optional, Tuple

START = os.getcwd()
_MODELLINT = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PACKAGES = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))
_BINARIES = tuple({os.path.join(prefix, "bin") + os.sep for prefix in (sys.prefix, sys.base_prefix)})
_STANDARD = os.path.dirname(os.path.realpath(os.__file__)) + os.sep
_targets: Dict[str, bool] = {}
_seen: Dict[str, Optional[str]] = {}
otherwise: Dict[str, Any] = {}  # the place to name where no frame is the user's


def user_path(filename: str) -> Optional[str]:
    """The path to show for `filename`: relative below the first current directory; None when it is not the user's."""
    if filename not in _seen:
        _seen[filename] = None if _is_foreign(filename) else _relative(absolute(filename))
    return _seen[filename]


def is_installed(kind: type) -> bool:
    """Whether a class was written in installed code; one from a notebook or a prompt is the user's."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    return file is not None and user_path(file) is None


def shown(filename: str) -> str:
    return user_path(filename) or absolute(filename)


def absolute(filename: str) -> str:
    """`filename` as it was meant when the process started: a script's code keeps the path of the command line."""
    return os.path.normpath(os.path.join(START, filename))


def user_line(frame: Optional[FrameType] = None) -> Optional[Tuple[str, int]]:
    """(path, line) of the innermost frame of the user at or above `frame` (default: the caller), or None."""
    for found in outwards(frame or sys._getframe(1)):
        path = user_path(found.f_code.co_filename)
        if path is not None:
            return path, found.f_lineno
    return (otherwise["path"], otherwise["line"]) if otherwise else None


def user_frame(frame: Optional[FrameType] = None) -> Optional[FrameType]:
    """The innermost frame of the user; where everything is installed code, the outermost frame that has a file."""
    outermost = None
    for found in outwards(frame or sys._getframe(1)):
        if user_path(found.f_code.co_filename) is not None:
            return found
        if not found.f_code.co_filename.startswith(("<", _MODELLINT)):
            outermost = found
    return outermost


def user_frames(frame: Optional[FrameType] = None) -> List[FrameType]:
    """Every frame of the user at or above `frame` (default: the caller), innermost first."""
    return [found for found in outwards(frame or sys._getframe(1)) if user_path(found.f_code.co_filename) is not None]


def user_stack(frame: Optional[FrameType] = None) -> List[List[Any]]:
    """[path, line] of every frame of the user, innermost first."""
    return [[user_path(f.f_code.co_filename), f.f_lineno] for f in user_frames(frame or sys._getframe(1))]


def of_trace(trace: Optional[TracebackType]) -> Iterator[FrameType]:
    """Every frame of a traceback, outermost first."""
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def place(frame: Optional[FrameType] = None) -> Dict[str, Any]:
    """The user's call as the fields of a Location; with columns where the interpreter keeps them (3.11)."""
    found = user_frame(frame or sys._getframe(1))
    if found is None or (otherwise and user_path(found.f_code.co_filename) is None):
        return dict(otherwise)
    code = found.f_code
    where: Dict[str, Any] = {"path": shown(code.co_filename), "line": found.f_lineno}
    if hasattr(code, "co_positions") and found.f_lasti >= 0:
        first, last, column, end = next(islice(code.co_positions(), found.f_lasti // 2, None), (None,) * 4)
        if first is not None and column is not None and end is not None:
            where.update(line=first, end_line=last, column=column + 1, end_column=end + 1)
    return where


def place_of_error(error: BaseException, trace: Optional[TracebackType]) -> Dict[str, Any]:
    """The user's innermost line in a traceback; for a syntax error the line that cannot be read."""
    if isinstance(error, SyntaxError) and error.filename and os.path.exists(absolute(error.filename)):
        return {"path": shown(error.filename), "line": error.lineno}
    if trace is None:
        return {}
    outer = user_frame(trace.tb_frame)  # caught on its way: the user may be further out
    where = {"path": shown(outer.f_code.co_filename), "line": outer.f_lineno} if outer is not None else dict(otherwise)
    while trace is not None:
        if user_path(trace.tb_frame.f_code.co_filename) is not None:
            where = {"path": shown(trace.tb_frame.f_code.co_filename), "line": trace.tb_lineno}
        trace = trace.tb_next
    return where


def outwards(frame: Optional[FrameType]) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _relative(path: str) -> str:
    below = os.path.relpath(path, START)
    return path if below.startswith("..") else below


def _is_foreign(filename: str) -> bool:
    if filename.startswith("<"):
        return True
    path = absolute(filename)
    installed = any(part in path for part in _PACKAGES) or path.startswith(_BINARIES)
    installed = installed or any(_is_target(folder) and path.startswith(folder + os.sep) for folder in sys.path[1:])
    return installed or path.startswith(_MODELLINT) or os.path.realpath(path).startswith(_STANDARD)


def _is_target(folder: str) -> bool:
    """Whether `pip install --target` has put packages there; the folder of the project itself is the user's all the same."""
    if folder not in _targets:
        held = os.listdir(folder) if os.path.isdir(folder) and absolute(folder) != START else ()
        _targets[folder] = any(name.endswith(".dist-info") for name in held)
    return _targets[folder]
