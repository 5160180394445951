"""What surrounds the training: versions, device, the user's source files, and how the training functions were left."""

from __future__ import annotations

import dis
import os
import platform
import sys
from typing import Any, Dict, Iterable, List, Optional, Sequence

import torch
from torch import Tensor

from . import frames

_RETURNS = ("RETURN_VALUE", "RETURN_CONST", "RETURN_GENERATOR", "YIELD_VALUE")


def versions() -> Dict[str, str]:
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


def device(parameters: Iterable[Tensor]) -> str:
    first = next(iter(parameters), None)
    if first is None or first.device.type != "cuda":
        return "cpu" if first is None else first.device.type
    return torch.cuda.get_device_name(first.device)


def has_taken_gpus() -> bool:
    """Whether this process has used CUDA; asking takes none."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def source_files() -> List[str]:
    """The user's own source files that this process has executed."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    mine = [file for file in files if isinstance(file, str) and file.endswith(".py") and frames.user_path(file)]
    return sorted({frames.shown(file) for file in mine if os.path.exists(frames.absolute(file))})


def left(stack: Sequence[Any]) -> Optional[Dict[str, Any]]:
    """Where an exception left the functions around step(), innermost first, and whether one further out caught it."""
    raised = [_was_left_by_an_exception(frame) for frame in stack]
    if not any(raised):
        return None
    innermost = raised.index(True)
    code = stack[innermost].f_code
    where = {"path": frames.shown(code.co_filename), "line": stack[innermost].f_lineno}
    return {"caught": not all(raised[innermost:]), "function": code.co_name, "location": where}


def _was_left_by_an_exception(frame: Any) -> bool:
    """A frame that is done keeps its last instruction."""
    if frame.f_lasti < 0 or _is_running(frame):
        return False
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] not in _RETURNS


def _is_running(frame: Any) -> bool:
    return any(frame is running for top in sys._current_frames().values() for running in frames.outwards(top))
